"""What the adapter contract needs of an implementation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from crosspeer.core.hooks import CloseDetails, Hooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from crosspeer.core.hub import Hub
    from crosspeer.core.peer import Peer
    from crosspeer.core.transport import Capabilities
    from crosspeer.testing.client import Client, Connecting


class Connect(Protocol):
    """Makes a client of the server under test."""

    def __call__(
        self,
        path: str = "/",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        timeout: float = 5.0,
    ) -> Connecting[Any]: ...


class Harness(Protocol):
    """One implementation under test."""

    capabilities: Capabilities

    def serve(self, hub: Hub) -> AbstractAsyncContextManager[Connect]:
        """Serve a hub; leaving the context stops the server and whatever it started."""
        ...


class Recorder(Hooks):
    """Hooks that remember what happened, and let a test wait for it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.peers: list[Peer] = []
        self._changed = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()

    def open(self, peer: Peer) -> None:
        self.peers.append(peer)
        self.note("open", None)

    def close(self, peer: Peer, details: CloseDetails) -> None:
        self.note("close", details)

    def error(self, peer: Peer, error: Exception) -> None:
        self.note("error", error)
        super().error(peer, error)

    def drain(self, peer: Peer) -> None:
        self.note("drain", None)

    def ping(self, peer: Peer, data: bytes) -> None:
        self.note("ping", data)

    def pong(self, peer: Peer, data: bytes) -> None:
        self.note("pong", data)

    def note(self, name: str, value: Any) -> None:
        """Remember an event and wake who waits for it."""
        self.events.append((name, value))
        task = asyncio.ensure_future(self._notify())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    def of(self, name: str) -> list[Any]:
        """The values of all events of one kind, in order."""
        return [value for kind, value in self.events if kind == name]

    async def wait_for(self, name: str, count: int = 1, timeout: float = 5.0) -> Any:
        """Wait until an event happened that often, and return the value of that one."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(self.of(name)) >= count)
        return self.of(name)[count - 1]

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def talk(first: Client, second: Client) -> None:
    """Both clients of an echo get their own text back: nothing else has disturbed them."""
    for client in (first, second):
        await client.send("still here")
        answer = await client.receive()
        assert answer == "still here"
