"""A server's command line as its user types it, run as a process on a free port instead of port 3000."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT = 20.0
PORT: Final = {
    "uvicorn": ("--port 3000", "--fd {fd}"),
    "hypercorn": ("--bind 127.0.0.1:3000", "--bind fd://{fd}"),
    "gunicorn": ("--bind 127.0.0.1:3000", "--bind fd://{fd} --no-control-socket"),
    "daphne": ("--port 3000", "--fd {fd}"),
    "granian": ("--port 3000", "--port {port}"),
}
"""What each command says of its port, and what hands it a socket, or a port that is kept for it."""


class Served:
    """A running server. What it prints is kept in `log`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    async def stop(self) -> None:
        """End it politely, and wait for that.

        Raises:
            AssertionError: it does not end in time; it is killed then.
        """
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), TIMEOUT)
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
            raise AssertionError(f"the server did not stop within {TIMEOUT:g} s:\n{self.output}") from None


@asynccontextmanager
async def served(command: str, folder: Path, *, path: Path | None = None) -> AsyncIterator[Served]:
    """Run a command in a folder until the end of the context.

    Args:
        path: where its modules are, beside the folder.
    """
    name = command.split()[0]
    told, instead = PORT[name]
    assert told in command, f"{command!r} does not say {told!r}"
    with socket.socket() as listener:
        is_handed = "{fd}" in instead
        # A server that binds the port itself does so beside ours, which keeps it from everybody else.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if is_handed else socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        host, port = listener.getsockname()
        if is_handed:
            listener.listen(128)
        words = shlex.split(command.replace(told, instead.format(fd=listener.fileno(), port=port)))
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *words),
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(path or folder), "PYTHONUNBUFFERED": "1"},
                pass_fds=[listener.fileno()] if is_handed else [],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = Served(process, f"http://{host}:{port}", log)
        try:
            if not is_handed:
                await _listens(server, host, port)
            yield server
        except BaseException:
            print(server.output[-8000:])  # noqa: T201 (pytest shows it of a test that fails)
            raise
        finally:
            await server.stop()


async def _listens(server: Served, host: str, port: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            assert server.process.returncode is None, server.output
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return
