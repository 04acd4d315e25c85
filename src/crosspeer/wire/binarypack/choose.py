"""The codec that runs: the engine's for what nearly every message is made of, where it is installed; else Python's.

Python's is the reference. The engine leaves to it every value that is rare, and every error, so both say the same.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from crosspeer.wire.binarypack.pack import pack as write
from crosspeer.wire.binarypack.tags import MAX_DEPTH, MAX_ITEMS
from crosspeer.wire.binarypack.unpack import unpack as read

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[Any, int], bytes | None]
    Read = Callable[[bytes, int, int], Any]


def before_reference(fast_write: Write, fast_read: Read) -> tuple[Callable[..., bytes], Callable[..., Any]]:
    """`pack` and `unpack` that ask the engine first."""

    @wraps(write)
    def pack(
        value: Any, *, default: Callable[[Any], Any] | None = None, max_depth: int = MAX_DEPTH, for_old: bool = False
    ) -> bytes:
        # Bytes alone the reference copies once less.
        if not for_old and type(value) is not bytes and (packed := fast_write(value, max_depth)) is not None:
            return packed
        return write(value, default=default, max_depth=max_depth, for_old=for_old)

    @wraps(read)
    def unpack(
        data: bytes | bytearray | memoryview,
        *,
        max_depth: int = MAX_DEPTH,
        max_items: int = MAX_ITEMS,
        from_old: bool = False,
    ) -> Any:
        if not from_old and type(data) is bytes:
            value = fast_read(data, max_depth, max_items)
            if value is not NotImplemented:
                return value
        return read(data, max_depth=max_depth, max_items=max_items, from_old=from_old)

    return pack, unpack


pack, unpack = write, read
try:
    import crosspeer_engine
except ImportError:
    pass
else:
    # One that was built before them has neither.
    _write, _read = getattr(crosspeer_engine, "pack", None), getattr(crosspeer_engine, "unpack", None)
    if _write is not None and _read is not None:
        pack, unpack = before_reference(_write, _read)
