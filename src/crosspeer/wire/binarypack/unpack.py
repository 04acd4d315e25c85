"""The reader. Whatever the bytes, it ends soon, takes memory in proportion, and raises nothing but `UnpackError`."""

from __future__ import annotations

import struct
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from crosspeer.wire.binarypack import tags
from crosspeer.wire.binarypack.tags import ARRAY, BINARY, MAP, MAX_DEPTH, MAX_ITEMS, NEGATIVE, NONE, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable


class UnpackError(ValueError):
    """The bytes hold no value, or one beyond the limits."""


def unpack(
    data: bytes | bytearray | memoryview,
    *,
    max_depth: int = MAX_DEPTH,
    max_items: int = MAX_ITEMS,
    from_old: bool = False,
) -> Any:
    """Read the first value; what follows it is ignored, as upstream does.

    Binary is `bytes`; undefined and the reserved tags are None. Keys that are no text become the text that JavaScript
    makes of them. An array that ends too early is an error here; upstream fills it up with zeros.

    Args:
        max_depth: arrays and maps inside of one another.
        max_items: items of all arrays and pairs of all maps together.
        from_old: the writer is PeerJS 1.4 or older, which counts the bytes of its texts wrongly.

    Raises:
        UnpackError: the bytes end too early, a text or a key is none, or a limit is passed.
    """
    if type(data) is not bytes:
        data = bytes(data)
    try:
        return _read(data, 0, 1, max_depth, [max_items], from_old)[0][0]
    except (IndexError, struct.error):
        raise _ended() from None


_NUMBERS: Final[dict[int, tuple[int, Callable[[bytes, int], tuple[Any]]]]] = {
    tag: (number.size, number.unpack_from)
    for tag, number in {
        tags.FLOAT64: Struct(">d"),
        tags.UINT8: Struct(">B"),
        tags.UINT16: Struct(">H"),
        tags.UINT32: Struct(">I"),
        tags.UINT64: Struct(">Q"),
        tags.INT8: Struct(">b"),
        tags.INT16: Struct(">h"),
        tags.INT32: Struct(">i"),
        tags.INT64: Struct(">q"),
        tags.FLOAT32: Struct(">f"),
    }.items()
}
_LENGTHS: Final = {
    tags.TEXT16: (TEXT, 2),
    tags.TEXT32: (TEXT, 4),
    tags.BINARY16: (BINARY, 2),
    tags.BINARY32: (BINARY, 4),
    tags.ARRAY16: (ARRAY, 2),
    tags.ARRAY32: (ARRAY, 4),
    tags.MAP16: (MAP, 2),
    tags.MAP32: (MAP, 4),
}
"""What the long forms hold, and how many bytes their length takes."""


_CONSTANTS: Final = {tags.FALSE: False, tags.TRUE: True}
"""All other tags are None: null, undefined, and what is reserved."""

_texts: dict[bytes, str] = {}
"""Short texts as they were read before: the same few keys come in every message."""
_MOST_TEXTS: Final = 1024


def _read(  # noqa: C901
    data: bytes, place: int, count: int, depth: int, room: list[int], from_old: bool
) -> tuple[list[Any], int]:
    """Read so many values from a place on, and say where they ended.

    One loop for all kinds, the commonest first: a call for each value would cost as much as everything else.

    Args:
        room: one number, the items that may still come.

    Raises:
        IndexError, struct.error: the bytes have ended.
    """
    end = len(data)
    values: list[Any] = []
    add = values.append
    known = _texts.get
    for _ in range(count):
        tag = data[place]
        place += 1
        if TEXT <= tag < NONE:
            stop = place + tag - TEXT
            if from_old:
                stop = _old_stop(data, place, stop)
            if stop > end:
                raise _ended()
            piece = data[place:stop]
            add(known(piece) or _short(piece, room))
            place = stop
            continue
        if tag < MAP:
            add(tag)
            continue
        if tag < TEXT:
            kind, length = tag & 0xF0, tag & 0x0F
        elif (number := _NUMBERS.get(tag)) is not None:
            add(number[1](data, place)[0])
            place += number[0]
            continue
        elif tag >= NEGATIVE:
            add(tag - 0x100)
            continue
        elif (long := _LENGTHS.get(tag)) is not None:
            kind, size = long
            length = int.from_bytes(data[place : place + size], "big")
            place += size
        else:
            add(_CONSTANTS.get(tag))
            continue
        # An item takes a byte at least: what cannot come is refused before anything is made for it.
        stop = place + length
        if from_old and kind == TEXT:
            stop = _old_stop(data, place, stop)
        if stop > end:
            raise _ended()
        if kind == TEXT:
            add(_text(data[place:stop], room))
            place = stop
        elif kind == BINARY:
            add(data[place:stop])
            place = stop
        else:
            if not depth:
                raise UnpackError("arrays and maps are nested too deeply")
            room[0] -= length
            if room[0] < 0:
                raise UnpackError("too many items in one message")
            items, place = _read(data, place, length if kind == ARRAY else 2 * length, depth - 1, room, from_old)
            add(items if kind == ARRAY else _map(items))
    return values, place


_OLD_UNITS: Final = 600


def _old_stop(data: bytes, place: int, stop: int) -> int:
    """Where a text ends for whose characters beyond U+FFFF, four bytes each, its writer has counted six.

    It does so up to 600 code units; longer texts it counts rightly.
    """
    if stop - place > 3 * _OLD_UNITS or max(data[place:stop], default=0) < 0xF0:
        return stop
    counted, units, here = place, 0, place
    while counted < stop and here < len(data):
        size = 1 if data[here] < 0x80 else 2 if data[here] < 0xE0 else 3 if data[here] < 0xF0 else 4
        here += size
        counted += size if size < 4 else 6
        units += size // 4 + 1
    return here if counted == stop and units <= _OLD_UNITS else stop


def _short(data: bytes, room: list[int]) -> str:
    text = _text(data, room)
    if len(_texts) >= _MOST_TEXTS:
        _texts.clear()
    _texts[data] = text
    return text


def _text(data: bytes, room: list[int]) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _loose(data, room)


def _map(items: list[Any]) -> dict[str, Any]:
    keys = items[::2]
    for key in keys:
        if type(key) is not str:
            keys = [_key(key) for key in keys]
            break
    return dict(zip(keys, items[1::2], strict=True))


def _key(key: Any) -> str:
    """The text that JavaScript makes of a key."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, float):
        return str(int(key)) if key.is_integer() else repr(key)
    if isinstance(key, int):
        return str(key)
    raise UnpackError("a key of a map is no text")


def _loose(data: bytes, room: list[int]) -> str:
    """Read a text that is no sound UTF-8 as upstream's reader does: Latin-1 below 0xA0, else UTF-8 with loose checks.

    Raises:
        UnpackError: a character would be beyond U+10FFFF, or it is long: this is slow, and counts as items.
    """
    room[0] -= len(data)
    if room[0] < 0:
        raise UnpackError("too much text that is no UTF-8")
    codes: list[int] = []
    rest = iter(data)
    for byte in rest:
        if byte < 0xA0:
            codes.append(byte)
            continue
        if 0xC0 <= byte < 0xE0:
            code, more = byte & 0x1F, 1
        elif 0xE0 <= byte < 0xF0:
            code, more = byte & 0x0F, 2
        else:
            # Upstream takes every other byte for the head of four, and keeps what is wrong in it.
            code, more = byte ^ 0xF0, 3
        for _ in range(more):
            code = code << 6 | next(rest, 0) & 0x3F
        if code > 0x10FFFF:
            raise UnpackError("a text is no UTF-8")
        codes.append(code)
    # Halves of surrogate pairs join up; what is left alone becomes U+FFFD.
    return "".join(map(chr, codes)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _ended() -> UnpackError:
    return UnpackError("the bytes end in the middle of a value")
