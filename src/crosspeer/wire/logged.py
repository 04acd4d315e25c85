"""What stands in the logs of topics: an envelope, numbered by its sender and stamped by the backplane.

    stamped   = "xl" epoch(16 hex digits) ":" previous ":" offset LF numbered
    numbered  = "xn" version flags number(8) envelope

The stamp is text because scripts on the backplane write it. `previous` is the offset of the message before, so that
who gets both knows that there is nothing between. The number makes one message of one that was sent twice. Sealing goes
around `numbered`: positions are the backplane's word.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

from crosspeer.wire.envelope import VERSION, EnvelopeError, Publication, decode, encode

SPREAD: Final = 0x01
"""The message goes to all namespaces: whoever knows of one puts it into that log, under the same number."""
MAX_OFFSET: Final = 1 << 53
"""What scripts and browsers can count to."""

_NUMBERED: Final = struct.Struct("!2sBBQ")
_STAMP: Final = re.compile(rb"xl([0-9a-f]{16}):(0|[1-9][0-9]{0,15}):(0|[1-9][0-9]{0,15})\n")


class Stamp(NamedTuple):
    """Where a message stands in a log."""

    epoch: str
    previous: int
    offset: int


class Numbered(NamedTuple):
    """A publication as its sender put it."""

    node: bytes
    number: int
    is_spread: bool
    publication: Publication


def stamp(epoch: str, previous: int, offset: int, data: bytes) -> bytes:
    """Put before a message where it stands."""
    return f"xl{epoch}:{previous}:{offset}\n".encode() + data


def read_stamp(data: bytes) -> tuple[Stamp, bytes]:
    """The stamp, and what is behind it.

    Raises:
        EnvelopeError: it is none.
    """
    found = _STAMP.match(data)
    if found is None:
        raise EnvelopeError("no stamp of a log")
    previous, offset = int(found[2]), int(found[3])
    if not previous <= offset <= MAX_OFFSET:
        raise EnvelopeError("offsets that make no sense")
    return Stamp(found[1].decode(), previous, offset), data[found.end() :]


def is_stamped(data: bytes) -> bool:
    return data.startswith(b"xl")


def is_numbered(data: bytes) -> bool:
    return data.startswith(b"xn")


def encode_numbered(node: bytes, number: int, entry: bytes, *, is_spread: bool) -> bytes:
    """A publication (as `envelope.entry` encodes it) with its sender's number."""
    return _NUMBERED.pack(b"xn", VERSION, SPREAD if is_spread else 0, number) + encode(node, [entry])


def decode_numbered(data: bytes, max_message_size: int) -> Numbered:
    """Read such a publication.

    Raises:
        EnvelopeError: it is not exactly one, or too big.
    """
    if len(data) < _NUMBERED.size:
        raise EnvelopeError("too short")
    magic, version, flags, number = _NUMBERED.unpack_from(data)
    if magic != b"xn" or version != VERSION or flags & ~SPREAD:
        raise EnvelopeError("of another kind or version")
    envelope = decode(data[_NUMBERED.size :], max_message_size)
    if envelope.note is not None or len(envelope.publications) != 1:
        raise EnvelopeError("not one publication")
    return Numbered(envelope.node, number, bool(flags & SPREAD), envelope.publications[0])
