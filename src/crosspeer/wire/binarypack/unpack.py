"""The reader. Whatever the bytes, it ends soon, takes memory in proportion, and raises nothing but `UnpackError`."""

from __future__ import annotations

import struct
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from crosspeer.wire.binarypack import tags
from crosspeer.wire.binarypack.tags import ARRAY, BINARY, FLOAT64, MAP, MAX_DEPTH, MAX_ITEMS, NEGATIVE, NONE, TEXT

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
        value, stop = _value(data, 0, max_depth, [max_items], from_old)
    except (IndexError, struct.error):
        raise _ended() from None
    if stop > len(data):
        raise _ended()
    return value


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
_double: Final = Struct(">d").unpack_from
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


def _value(data: bytes, place: int, depth: int, room: list[int], from_old: bool) -> tuple[Any, int]:
    """Read the value at a place, and say where it ends. That may be beyond the bytes, if they have ended in it.

    Args:
        room: one number, the items that may still come.

    Raises:
        IndexError, struct.error: the bytes have ended before.
    """
    tag = data[place]
    place += 1
    if tag < MAP:
        return tag, place
    if tag < NONE:
        kind, length = tag & 0xF0, tag & 0x0F
    elif (number := _NUMBERS.get(tag)) is not None:
        return number[1](data, place)[0], place + number[0]
    elif tag >= NEGATIVE:
        return tag - 0x100, place
    elif (long := _LENGTHS.get(tag)) is not None:
        kind, size = long
        length = int.from_bytes(data[place : place + size], "big")
        place += size
    else:
        return _CONSTANTS.get(tag), place
    if kind == TEXT:
        stop = _old_stop(data, place, place + length) if from_old else place + length
        return _text(data[place:stop], room), stop
    if kind == BINARY:
        return data[place : place + length], place + length
    if not depth:
        raise UnpackError("arrays and maps are nested too deeply")
    room[0] -= length
    if room[0] < 0:
        raise UnpackError("too many items in one message")
    read = _map if kind == MAP else _array
    return read(data, place, length, depth - 1, room, from_old)


# In these two loops the commonest values are read in place: a call for each would cost as much as everything else.
# A slice beyond the end is only shorter, and the next look at a byte fails, so there is one check at the end of all.


def _map(
    data: bytes, place: int, length: int, depth: int, room: list[int], from_old: bool
) -> tuple[dict[str, Any], int]:
    made: dict[str, Any] = {}
    known = _texts.get
    for _ in range(length):
        tag = data[place]
        if TEXT <= tag < NONE and not from_old:
            stop = place + 1 + tag - TEXT
            piece = data[place + 1 : stop]
            key = known(piece) or _short(piece, room)
        else:
            key, stop = _value(data, place, depth, room, from_old)
            if type(key) is not str:
                key = _key(key)
        tag = data[stop]
        if tag < MAP:
            made[key] = tag
            place = stop + 1
        elif TEXT <= tag < NONE and not from_old:
            place = stop + 1 + tag - TEXT
            made[key] = _text(data[stop + 1 : place], room)
        elif tag == FLOAT64:
            made[key] = _double(data, stop + 1)[0]
            place = stop + 9
        else:
            made[key], place = _value(data, stop, depth, room, from_old)
    return made, place


def _array(data: bytes, place: int, length: int, depth: int, room: list[int], from_old: bool) -> tuple[list[Any], int]:
    made: list[Any] = []
    add = made.append
    for _ in range(length):
        tag = data[place]
        if tag < MAP:
            add(tag)
            place += 1
        elif TEXT <= tag < NONE and not from_old:
            start, place = place + 1, place + 1 + tag - TEXT
            add(_text(data[start:place], room))
        elif tag == FLOAT64:
            add(_double(data, place + 1)[0])
            place += 9
        else:
            value, place = _value(data, place, depth, room, from_old)
            add(value)
    return made, place


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
