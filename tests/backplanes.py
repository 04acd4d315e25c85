"""Real Redis, NATS and PostgreSQL servers, private to a test, on free ports or sockets, stopped whatever happens."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

UP_WITHIN = 20.0


def find(program: str) -> str | None:
    """A program of the system, also where Debian keeps servers out of the path of users."""
    places = ["/usr/sbin", "/usr/local/bin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(places))


class Broker:
    """A server that can be stopped, frozen and started again on the same address."""

    def __init__(
        self,
        url: str,
        command: list[str],
        ready: Callable[[], bool],
        environment: dict[str, str],
        folder: str | None = None,
    ) -> None:
        self.url = url
        self._folder = folder
        self._command = command
        self._ready = ready
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self.user: str | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | self._environment,
            user=self.user,
            start_new_session=True,
        )
        async with asyncio.timeout(UP_WITHIN):
            while not self._ready():
                assert self._process.returncode is None, f"{self._command[0]} ended by itself"
                await asyncio.sleep(0.02)

    def send(self, number: int) -> None:
        """Send a signal to it and its children, to freeze or to wake them for instance."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for process in (self._process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def lose(self) -> None:
        """Throw away what it keeps, while it does not run."""
        assert self._folder is not None
        for thing in Path(self._folder).iterdir():
            if thing.is_dir():
                shutil.rmtree(thing)
            else:
                thing.unlink()

    async def kill(self) -> None:
        """End it without a word."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        self._process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(port: int) -> Callable[[], bool]:
    """How to see whether something listens on a port."""

    def ready() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    return ready


@asynccontextmanager
async def _running(broker: Broker) -> AsyncIterator[Broker]:
    try:
        await broker.start()
        yield broker
    finally:
        await broker.kill()


def _required(program: str, package: str) -> str:
    path = find(program)
    if path is None:
        pytest.skip(f"{program} is not installed here: apt-get install {package}")
    return path


@asynccontextmanager
async def redis() -> AsyncIterator[Broker]:
    program = _required("redis-server", "redis-server")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        # It writes everything down at once, so that a restart keeps it: `lose` is for tests that want it lost.
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        command += ["--appendonly", "yes", "--appendfsync", "no"]
        async with _running(Broker(f"redis://127.0.0.1:{port}/0", command, answers(port), {}, folder)) as broker:
            yield broker


@asynccontextmanager
async def nats() -> AsyncIterator[Broker]:
    program = _required("nats-server", "nats-server")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        port = free_port()
        command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]
        async with _running(Broker(f"nats://127.0.0.1:{port}", command, answers(port), {}, folder)) as broker:
            yield broker


@asynccontextmanager
async def postgres(*, tcp: bool = False) -> AsyncIterator[Broker]:
    """A cluster of its own in a folder, reached by a socket in it, or over TCP. PostgreSQL refuses to run as root."""
    initdb, program = _required("initdb", "postgresql"), _required("postgres", "postgresql")
    with tempfile.TemporaryDirectory() as folder:
        user = None
        if os.geteuid() == 0:
            user = "postgres"
            shutil.chown(folder, user)
        data = f"{folder}/data"
        environment = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
        making = await asyncio.create_subprocess_exec(
            *[initdb, "-D", data, "-U", "test", "--auth=trust", "--no-sync"],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | environment,
            user=user,
            cwd=folder,
        )
        output, _ = await making.communicate()
        assert making.returncode == 0, output.decode()
        address, port = ("127.0.0.1", free_port()) if tcp else ("", 5432)
        listen = ["-k", folder, "-c", f"listen_addresses={address}", "-p", str(port)]
        command = [program, "-D", data, *listen, "-c", "fsync=off"]
        pid_file = Path(data, "postmaster.pid")

        def ready() -> bool:
            # The last line says so (PostgreSQL's pidfile.h).
            return pid_file.exists() and "ready" in pid_file.read_text()

        url = f"postgresql://test@127.0.0.1:{port}/postgres" if tcp else f"postgresql://test@/postgres?host={folder}"
        broker = Broker(url, command, ready, environment)
        broker.user = user
        async with _running(broker):
            yield broker


@asynccontextmanager
async def memory() -> AsyncIterator[Broker]:
    """No server at all: the name is what the hubs share."""
    yield Broker(f"memory://{os.urandom(4).hex()}", [], lambda: True, {})


@asynccontextmanager
async def local() -> AsyncIterator[Broker]:
    with tempfile.TemporaryDirectory() as folder:
        yield Broker(f"local://{folder}/bus", [], lambda: True, {})


BROKERS = {"memory": memory, "local": local, "redis": redis, "nats": nats, "postgres": postgres}
