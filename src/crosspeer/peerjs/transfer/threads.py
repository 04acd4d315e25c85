"""Work on files, which may block: in a thread, beside the event loop."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

T = TypeVar("T")

_READ: Final = 4 * 1024 * 1024
"""Bytes hashed in one go: few enough for Ctrl+C."""


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Do it in a thread, to its end: who cancels this waits, and may close the file then."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def hash_of(file: FileIO, size: int) -> hashlib._Hash:
    """The SHA-256 of the first bytes of a file, which is read on from there next.

    Raises:
        EOFError: it has not so many.
        OSError: it cannot be read.
    """
    made = hashlib.sha256()
    file.seek(0)
    while size:
        read = await in_thread(_hash_some, file, made, min(size, _READ))
        if not read:
            raise EOFError
        size -= read
    return made


def _hash_some(file: FileIO, made: hashlib._Hash, size: int) -> int:
    data = file.read(size)
    made.update(data)
    return len(data)
