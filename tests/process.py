"""The real command in a process of its own, on a free port, ended whatever happens."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TIMEOUT = 20.0


class Command:
    """A running `crosspeer`. What it prints is kept in `output`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self.url = ""
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def printed(self, pattern: str, times: int = 1, timeout: float = TIMEOUT) -> re.Match[str]:
        """Wait until a pattern was printed that often, and return that match."""

        def found() -> list[re.Match[str]]:
            return list(re.finditer(pattern, self.output))

        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= times or self._reading.done())
        assert len(found()) >= times, f"{pattern!r} was not printed {times} times:\n{self.output}"
        return found()[times - 1]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def type(self, line: str) -> None:
        """Write a line to its standard input, which has to be a pipe."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def ended(self) -> int:
        """Wait for its end, and return its exit status."""
        async with asyncio.timeout(TIMEOUT):
            status = await self.process.wait()
            await self._reading
        return status

    async def _read(self) -> None:
        if self.process.stdout is None:
            # Somebody else reads what it prints.
            return
        while line := await self.process.stdout.readline():
            async with self._changed:
                self.output += line.decode()
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def crosspeer(
    *arguments: str,
    cwd: Path | None = None,
    stdin: int | None = None,
    stdout: int = asyncio.subprocess.PIPE,
    stderr: int = asyncio.subprocess.STDOUT,
) -> AsyncIterator[Command]:
    """Run `crosspeer` with these arguments in a folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crosspeer",
        *arguments,
        cwd=cwd,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.returncode is None:
            # A supervisor has a child: end the whole group that was started here.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await command._reading


@asynccontextmanager
async def serving(target: str, *options: str, cwd: Path | None = None) -> AsyncIterator[Command]:
    """Run `crosspeer serve` on a free port until it listens."""
    async with crosspeer("serve", target, "--port", "0", *options, cwd=cwd) as command:
        command.url = (await command.printed(r"crosspeer is on (http://\S+)"))[1]
        yield command
