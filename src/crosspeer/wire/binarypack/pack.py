"""The writer. It steps around what JavaScript's reader gets wrong, so that a browser has the value that was sent."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any, Final

from crosspeer.wire.binarypack.tags import (
    ARRAY,
    ARRAY16,
    ARRAY32,
    BINARY,
    BINARY16,
    BINARY32,
    F64,
    FLOAT64,
    I8,
    I16,
    I32,
    I64,
    INT8,
    INT16,
    INT32,
    INT64,
    MAP,
    MAP16,
    MAP32,
    MAX_DEPTH,
    SMALL,
    TEXT16,
    TEXT32,
    TEXT_HEADS,
    U8,
    U16,
    U32,
    U64,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Put = Callable[[bytes | memoryview], None]
    Default = Callable[[Any], Any] | None

MAX_LENGTH: Final = 0xFFFF_FFFF
_MOST_KEYS: Final = 1024
_LONGEST_KEY: Final = 64
_BEYOND: Final = re.compile("[\U00010000-\U0010ffff]")


class PackError(TypeError, ValueError):
    """The value has no form in BinaryPack."""


def pack(
    value: Any, *, default: Callable[[Any], Any] | None = None, max_depth: int = MAX_DEPTH, for_old: bool = False
) -> bytes:
    """Write one value: None, bool, int, float, str, bytes-like, list, tuple, dict with str or int keys, date and time.

    What has a buffer (bytearray, memoryview, array, numpy's arrays) is binary of exactly its bytes, as JavaScript's
    typed arrays are. A float without a fraction is an integer, as every number of JavaScript is; -0.0 is 0.
    Dates are ISO 8601 text. Lone surrogates become U+FFFD.

    Args:
        default: makes a packable value of any other.
        max_depth: arrays and maps inside of one another.
        for_old: the reader is PeerJS 1.4 or older. It takes characters beyond U+FFFF only as CESU-8.

    Raises:
        PackError: the value has no form: an unknown type, too deep, an integer that neither 64 bits nor a double hold.
    """
    if type(value) is bytes:
        return b"".join((_binary_head(len(value)), value))
    form = _OLD if for_old else _NEW
    if (scalar := form.scalars.get(type(value))) is not None:
        return scalar(value)
    pieces: list[bytes | memoryview] = []
    _write(pieces.append, value, max_depth, default, form)
    return b"".join(pieces)


def integer(value: int) -> bytes:
    """The shortest form, but for those that JavaScript misreads."""
    if -32 <= value <= 0x7F:
        return SMALL[value]
    if value > 0:
        if value <= 0xFF:
            return U8(UINT8, value)
        if value <= 0xFFFF:
            return U16(UINT16, value)
        if value <= 0xFFFF_FFFF:
            return U32(UINT32, value)
        if value < 1 << 63:
            return I64(INT64, value)
        # As int64 it would arrive negative.
        return U64(UINT64, value) if value < 1 << 64 else _wide(value)
    return _negative(value)


def _negative(value: int) -> bytes:
    if value >= -0x80:
        return I8(INT8, value)
    if value >= -0x8000:
        return I16(INT16, value)
    if value >= -0x8000_0000:
        return I32(INT32, value)
    return _wide(value)


def _wide(value: int) -> bytes:
    """Integers that JavaScript reads exactly as doubles only: of int64 it loses the low bits of negative values."""
    try:
        double = float(value)
    except OverflowError:
        double = 0.0
    if double == value:
        return F64(FLOAT64, double)
    if -(1 << 63) <= value < 0:
        # No double holds it, so no JavaScript does; another Python reads it exactly.
        return I64(INT64, value)
    raise PackError("an integer is beyond 64 bits and no double holds it: send it as text, or as a float")


def _number(value: float) -> bytes:
    if value.is_integer():
        # Zero has to be an integer: JavaScript reads the double as 2 to the power of -1023.
        return integer(int(value))
    return F64(FLOAT64, value)


def _text(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        data = _without_halves(value).encode()
    return _counted(data)


def _old_text(value: str) -> bytes:
    if value.isascii():
        return _counted(value.encode())
    return _counted(_BEYOND.sub(_pair, _without_halves(value)).encode("utf-8", "surrogatepass"))


def _pair(found: re.Match[str]) -> str:
    """The surrogates that UTF-16 has for a character, which are two characters of three bytes in CESU-8."""
    code = ord(found[0]) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


def _without_halves(value: str) -> str:
    """Surrogates that make a pair join up, others become U+FFFD."""
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _counted(data: bytes) -> bytes:
    length = len(data)
    if length < 16:
        return TEXT_HEADS[length] + data
    if length <= 0xFFFF:
        return U16(TEXT16, length) + data
    if length <= MAX_LENGTH:
        return U32(TEXT32, length) + data
    raise PackError("a text has more than 4 GiB")


def _binary_head(length: int) -> bytes:
    return _head(length, BINARY, BINARY16, BINARY32)


def _head(length: int, short: int, long: int, longest: int) -> bytes:
    if length < 16:
        return bytes((short + length,))
    if length <= 0xFFFF:
        return U16(long, length)
    if length <= MAX_LENGTH:
        return U32(longest, length)
    raise PackError(f"{length} are more than BinaryPack can count")


class _Form:
    """How the values are written that hold no others."""

    __slots__ = ("keys", "scalars")

    def __init__(self, text: Callable[[str], bytes]) -> None:
        self.scalars: Final[dict[type, Callable[[Any], bytes]]] = {
            str: text,
            int: integer,
            float: _number,
            bool: lambda value: b"\xc3" if value else b"\xc2",
            type(None): lambda value: b"\xc0",
        }
        self.keys: Final[dict[str, bytes]] = {}
        """Keys as they were written before: the same few come in every message."""

    def key(self, key: Any) -> bytes:
        if isinstance(key, int) and not isinstance(key, bool):
            # As every object of JavaScript has it.
            key = str(key)
        if not isinstance(key, str):
            raise PackError(f"the keys of a map are text or whole numbers, not {type(key).__name__}")
        written = self.scalars[str](key)
        if len(key) <= _LONGEST_KEY and type(key) is str:
            if len(self.keys) >= _MOST_KEYS:
                self.keys.clear()
            self.keys[key] = written
        return written


_NEW: Final = _Form(_text)
_OLD: Final = _Form(_old_text)


def _write(put: Put, value: Any, depth: int, default: Default, form: _Form) -> None:
    """Write a value that is no scalar, into pieces."""
    scalars = form.scalars
    if isinstance(value, dict):
        if depth <= 0:
            raise _too_deep()
        put(_head(len(value), MAP, MAP16, MAP32))
        known = form.keys.get
        for key, item in value.items():
            put(known(key) or form.key(key))
            if (scalar := scalars.get(type(item))) is not None:
                put(scalar(item))
            else:
                _write(put, item, depth - 1, default, form)
    elif isinstance(value, (list, tuple)):
        if depth <= 0:
            raise _too_deep()
        put(_head(len(value), ARRAY, ARRAY16, ARRAY32))
        for item in value:
            if (scalar := scalars.get(type(item))) is not None:
                put(scalar(item))
            else:
                _write(put, item, depth - 1, default, form)
    else:
        _write_other(put, value, depth, default, form)


def _write_other(put: Put, value: Any, depth: int, default: Default, form: _Form) -> None:
    for base, write in form.scalars.items():
        # Subclasses, enumerations among them.
        if isinstance(value, base):
            put(write(value))
            return
    if isinstance(value, (datetime.date, datetime.time)):
        put(form.scalars[str](value.isoformat()))
    elif getattr(value, "shape", None) == ():
        # A scalar of numpy has a buffer, but it is a number.
        _write_made(put, value.item(), depth, default, form)
    elif (view := _view(value)) is not None:
        put(_binary_head(view.nbytes))
        put(view)
    elif default is not None:
        _write_made(put, default(value), depth, default, form)
    else:
        raise PackError(f"{type(value).__name__} has no form in BinaryPack")


def _write_made(put: Put, value: Any, depth: int, default: Default, form: _Form) -> None:
    """Write what stands for another value."""
    if depth <= 0:
        raise _too_deep()
    if (scalar := form.scalars.get(type(value))) is not None:
        put(scalar(value))
    else:
        _write(put, value, depth - 1, default, form)


def _view(value: Any) -> memoryview | None:
    """The bytes of whatever has a buffer, without a copy where it lies in one piece."""
    try:
        view = memoryview(value)
    except TypeError:
        return None
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def _too_deep() -> PackError:
    return PackError("arrays and maps are nested too deeply, or contain themselves")
