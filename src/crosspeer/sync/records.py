"""What the nodes of a machine say to their exchange about logs.

append = kept number(8) sender_length(1) sender data
ask    = kept question(8) after(8, signed; -1 for none)
page   = epoch(16) head(8) floor(8) *(offset(8) length(4) data)
kept   = size(4) seconds(8, a double) bytes(8)
"""

from __future__ import annotations

import struct
from typing import Any, Final

from crosspeer.core.history import History
from crosspeer.sync.port import Append, Ask, LogName, Page

_KEPT: Final = struct.Struct("!IdQ")
_APPEND: Final = struct.Struct("!QB")
_ASK: Final = struct.Struct("!Qq")
_PAGE: Final = struct.Struct("!16sQQ")
_ITEM: Final = struct.Struct("!QI")


def encode_append(new: Append) -> bytes:
    sender = new.sender.encode()
    return _kept(new.log) + _APPEND.pack(new.number, len(sender)) + sender + new.data


def decode_append(channel: str, data: bytes) -> Append:
    """Raises: ValueError: it is none."""
    log, at = _log(channel, data)
    number, length = _unpack(_APPEND, data, at)
    at += _APPEND.size
    return Append(log, data[at : at + length].decode(), number, data[at + length :])


def encode_ask(question: int, ask: Ask) -> bytes:
    return _kept(ask.log) + _ASK.pack(question, -1 if ask.after is None else ask.after)


def decode_ask(channel: str, data: bytes) -> tuple[int, Ask]:
    """Raises: ValueError: it is none."""
    log, at = _log(channel, data)
    question, after = _unpack(_ASK, data, at)
    return question, Ask(log, None if after < 0 else after)


def encode_page(page: Page, most: int) -> bytes:
    """A page, or as much of its end as goes into so many bytes."""
    items: list[bytes] = []
    size, floor = 0, page.head
    for offset, data in reversed(page.entries):
        size += _ITEM.size + len(data)
        if size > most:
            floor = offset
            break
        items.append(_ITEM.pack(offset, len(data)) + data)
    else:
        floor = page.floor
    return _PAGE.pack(page.epoch.encode(), page.head, floor) + b"".join(reversed(items))


def decode_page(data: bytes) -> Page:
    """Raises: ValueError: it is none."""
    epoch, head, floor = _unpack(_PAGE, data, 0)
    at, entries = _PAGE.size, []
    while at < len(data):
        offset, length = _unpack(_ITEM, data, at)
        at += _ITEM.size
        entries.append((offset, data[at : at + length]))
        at += length
    return Page(epoch.decode(), head, floor, entries)


def _kept(log: LogName) -> bytes:
    return _KEPT.pack(log.kept.size, log.kept.seconds, log.kept.bytes)


def _log(channel: str, data: bytes) -> tuple[LogName, int]:
    size, seconds, most = _unpack(_KEPT, data, 0)
    return LogName(channel, "", History(size=size, seconds=seconds, bytes=most)), _KEPT.size


def _unpack(form: struct.Struct, data: bytes, at: int) -> tuple[Any, ...]:
    try:
        return form.unpack_from(data, at)
    except struct.error:
        raise ValueError("cut off") from None
