"""Real backplanes that keep their data over a restart, or lose it, and are reached over TCP, so through a proxy."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import backplanes
from backplanes import Broker, answers, find, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Store:
    """A broker, and the folder that it keeps its data in; None where it cannot lose them."""

    def __init__(self, broker: Broker, data: Path | None) -> None:
        self.broker = broker
        self.url = broker.url
        self._data = data

    @property
    def may_lose(self) -> bool:
        return self._data is not None

    async def kill(self) -> None:
        """End it without a word."""
        await self.broker.kill()

    async def start(self) -> None:
        """Start it again on the same address."""
        await self.broker.start()

    def lose(self) -> None:
        """Throw away what it keeps, while it is down."""
        assert self._data is not None
        for path in self._data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@asynccontextmanager
async def _running(program: str, arguments: Callable[[int, str], list[str]]) -> AsyncIterator[Store]:
    path = find(program)
    assert path is not None
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        scheme = program.partition("-")[0]
        broker = Broker(f"{scheme}://127.0.0.1:{port}", [path, *arguments(port, folder)], answers(port), {})
        try:
            await broker.start()
            yield Store(broker, Path(folder))
        finally:
            await broker.kill()


def redis() -> AbstractAsyncContextManager[Store]:
    def arguments(port: int, folder: str) -> list[str]:
        listen = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        return [*listen, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]

    return _running("redis-server", arguments)


def nats() -> AbstractAsyncContextManager[Store]:
    def arguments(port: int, folder: str) -> list[str]:
        return ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]

    return _running("nats-server", arguments)


@asynccontextmanager
async def postgres() -> AsyncIterator[Store]:
    async with backplanes.postgres(tcp=True) as broker:
        yield Store(broker, None)


@asynccontextmanager
async def local() -> AsyncIterator[Store]:
    async with backplanes.local() as broker:
        yield Store(broker, None)


STORES: Final[dict[str, Callable[[], AbstractAsyncContextManager[Store]]]] = {
    "redis": redis,
    "nats": nats,
    "postgres": postgres,
    "local": local,
}
NEEDS: Final = {
    "redis": ("redis-server", "redis-server"),
    "nats": ("nats-server", "nats-server"),
    "postgres": ("initdb", "postgresql"),
}
"""The program of each, and Debian's package of it."""


def missing(name: str) -> str | None:
    """What to say where a backplane is not installed."""
    program, package = NEEDS.get(name, ("", ""))
    return f"{program} is not installed here: apt-get install {package}" if program and find(program) is None else None
