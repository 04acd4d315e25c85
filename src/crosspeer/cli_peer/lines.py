"""The lines of standard input, whatever that is: a terminal, a pipe, a file."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from os import read
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

MAX_LINE: Final = 65536
"""Bytes of a line. A longer one comes as several."""


async def lines() -> AsyncGenerator[str, None]:
    """The lines, without what ends them. Only one is read ahead.

    A thread waits for them, since a loop cannot wait for files; it reads below `sys.stdin`, whose lock would be in the
    way at the end of the process.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)

    def put(line: bytes | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    def read_all() -> None:
        # The loop may have ended meanwhile.
        with suppress(RuntimeError, CancelledError):
            rest = b""
            while data := _read():
                *complete, rest = (rest + data).split(b"\n")
                for line in complete:
                    put(_shortened(line, put))
                rest = _shortened(rest, put)
            if rest:
                put(rest)
            put(None)

    threading.Thread(target=read_all, name="input", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line.decode(errors="replace").rstrip("\r")


def _shortened(line: bytes, put: Callable[[bytes], None]) -> bytes:
    """What is left of a line when it has been put away up to the last character that `MAX_LINE` bytes have room for."""
    while len(line) > MAX_LINE:
        end = MAX_LINE
        while line[end] & 0xC0 == 0x80 and end > MAX_LINE - 4:
            end -= 1
        put(line[:end])
        line = line[end:]
    return line


def _read() -> bytes:
    try:
        return read(sys.stdin.fileno(), MAX_LINE)
    except (OSError, ValueError, AttributeError):
        # It is closed.
        return b""
