"""What makes the engine fast: a frame is encoded once, appended to each subscriber's buffer, and every buffer is
written once at the end of the turn of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.session import Session
from crosspeer.core.topics import Topics
from crosspeer.wire.frames import BINARY, TEXT, encode_frame

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterable

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.topics import Watcher
    from crosspeer.server.python.connection import PythonConnection

MAX_TURN: Final = 4 * 1024 * 1024
"""Bytes that one turn may gather in all buffers before they are written in the middle of it: memory stays bounded
however much a single hook publishes."""


class Batch:
    """The fan-out of the engine's connections, and the buffers that wait for the end of the turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._topics: Topics[PythonConnection] = Topics()
        self._dirty: list[PythonConnection] = []
        self._gathered = 0
        self._scheduled = False

    # Fanout, for the hub.

    def add(self, topic: str, session: Session) -> None:
        self._topics.add(session.namespace, topic, session.transport)  # type: ignore[arg-type]

    def discard(self, topic: str, session: Session) -> None:
        self._topics.discard(session.namespace, topic, session.transport)  # type: ignore[arg-type]

    def publish(self, topic: str, item: Outgoing, namespace: str | None, sender: Session | None) -> None:
        """The hot loop: a few bytecodes and one append for each subscriber whose socket takes what it gets."""
        if topic not in self._topics.index:
            # So it is with most that an engine beside this one publishes.
            return
        frame = frame_of(item)
        # One of another engine is nobody here.
        skip = sender.transport if isinstance(sender, Session) else None
        dirty = self._dirty
        beside: list[PythonConnection] = []
        for group in self._groups(topic, namespace):
            self._gathered += len(frame) * len(group)
            for connection in group:
                if connection is skip:
                    continue
                if not connection.ready or connection.deflating is not None:
                    beside.append(connection)
                    continue
                out = connection.out
                if not out:
                    dirty.append(connection)
                out += frame
        self._schedule()
        full = [connection for connection in beside if not connection.session.push(item)]
        for connection in full:
            connection.session.overflow()

    def watch(self, watcher: Watcher) -> None:
        self._topics.watch(watcher)

    @property
    def index(self) -> dict[str, Any]:
        return self._topics.index

    def __len__(self) -> int:
        return len(self._topics)

    # For connections.

    def gather(self, connection: PythonConnection, frame: bytes) -> None:
        """Append a frame for one connection that is ready."""
        out = connection.out
        if not out:
            self._dirty.append(connection)
        out += frame
        self._gathered += len(frame)
        if not self._scheduled or self._gathered > MAX_TURN:
            self._schedule()

    def flush(self) -> None:
        """Write what was gathered, a connection at a time."""
        self._scheduled = False
        self._gathered = 0
        # A new list: what is written may make room, and room may let more be gathered.
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.write_out()

    def _schedule(self) -> None:
        if self._gathered > MAX_TURN:
            self.flush()
        elif not self._scheduled and self._dirty:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def _groups(self, topic: str, namespace: str | None) -> Iterable[Collection[PythonConnection]]:
        return self._topics.everywhere(topic) if namespace is None else (self._topics.of(topic, namespace),)


def frame_of(item: Outgoing) -> bytes:
    """The frame of a message, encoded once for all that it goes to."""
    if item.frame is None:
        item.frame = encode_frame(TEXT if item.is_text else BINARY, item.payload)
    return item.frame
