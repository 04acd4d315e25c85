"""What the engine calls in Python: whatever is not hot. Its methods are the engine's port to the rest of crosspeer."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from crosspeer.core.errors import LimitExceeded, error_of
from crosspeer.core.hooks import CloseDetails
from crosspeer.core.message import Message
from crosspeer.core.outgoing import outgoing
from crosspeer.core.peer import WebSocketInfo
from crosspeer.core.request import Request
from crosspeer.core.session import ReadyState, logger
from crosspeer.core.topics import check_topic
from crosspeer.runtime.tasks import LAST_GRACE, Tasks
from crosspeer.server.native.request import Head, request_of
from crosspeer.wire.closing import CloseCode, check_close

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from crosspeer_engine import Peer as NativePeer

    from crosspeer.core.peer import Peer
    from crosspeer.core.recovery import Recovery
    from crosspeer.server.native.engine import NativeEngine


class Glue:
    """The Python side of one engine."""

    def __init__(self, engine: NativeEngine) -> None:
        self._engine = engine
        self._hub = engine.hub
        self._tasks: dict[NativePeer, Tasks] = {}
        self._ends: dict[NativePeer, asyncio.Future[None]] = {}
        self._drains: dict[NativePeer, list[tuple[int, asyncio.Future[None]]]] = {}
        self._leaving: NativePeer | None = None
        # Called by name, and without a detour.
        self.asked = engine.asked
        self.left_early = engine.left_early
        self.plain_http = engine.plain_http
        self.schedule = engine.schedule
        self.is_awaitable = isawaitable
        self.ready_state = ReadyState
        self.websocket_info = WebSocketInfo

    def new_id(self) -> str:
        """For a message."""
        return str(uuid.uuid4())

    def name(self, peer: NativePeer) -> str:
        """The id of a peer, by which it is found from now on."""
        chosen = str(uuid.uuid4())
        self._hub._named[chosen] = peer  # type: ignore[assignment]
        return chosen

    def convert(self, data: object) -> str | bytes:
        """What is sent that is neither `str` nor `bytes`."""
        return outgoing(data).data

    def read_json(self, data: str | bytes, wanted: Any) -> Any:
        """`Message.json`, which is written once."""
        return Message(None, data).json(wanted)  # type: ignore[arg-type]

    def request_of(self, kept: Head | Request, context: dict[str, Any]) -> Request:
        """The request of a peer: the one that `upgrade` saw, or one made of its head."""
        if isinstance(kept, Request):
            return kept
        request = request_of(kept, self._hub)
        request.context = context
        return request

    def details(self, code: int, reason: str, was_clean: bool) -> CloseDetails:
        """How a peer has ended: the one that `left` was called with."""
        details, peer = CloseDetails(code, reason, was_clean), self._leaving
        self._leaving = None
        if not was_clean:
            self._hub.violations.note(details, None if peer is None else peer.remote_address)
        return details

    def check_close(self, code: Any, reason: Any) -> tuple[int, str]:
        code = CloseCode.NORMAL if code is None else code
        reason = "" if reason is None else reason
        check_close(code, reason)
        return int(code), reason

    def refuse_topic(self, topic: object) -> None:
        """Raise for what is no string."""
        check_topic(topic, self._hub.limits.max_topic_length)  # type: ignore[arg-type]

    def topic_error(self, text: str, is_limit: bool) -> None:
        raise LimitExceeded(text) if is_limit else ValueError(text)

    def error_failed(self, peer: NativePeer, error: Exception) -> None:
        logger.error("the error hook of peer %s failed", peer, exc_info=error)
        peer.close(CloseCode.INTERNAL_ERROR, "internal error")

    def publish(self, peer: NativePeer, topic: str, data: object, namespace: str, compress: bool | None) -> None:
        """A publication of a native peer that has to be kept before it is delivered."""
        self._hub._publish(topic, outgoing(data, compress), namespace, peer)  # type: ignore[arg-type]

    def subscribed(self, peer: NativePeer, topic: str, since: Any, is_new: bool) -> Recovery | None:
        return self._hub.subscribed(peer, topic, since, is_new)  # type: ignore[arg-type]

    def unsubscribed(self, peer: NativePeer, topic: str) -> None:
        self._hub.unsubscribed(peer, topic)  # type: ignore[arg-type]

    def publish_elsewhere(self, topic: str, data: object, namespace: str, compress: bool | None) -> None:
        """A publication of a native peer, for everybody who is not the engine's."""
        self._hub.publish_beside(self._engine.fanout, topic, outgoing(data, compress), namespace)

    def peers_of(self, namespace: str) -> AbstractSet[Peer]:
        return self._hub._peers_of(namespace)

    # The life of a peer.

    def entered(self, peer: NativePeer, namespace: str) -> None:
        self._hub.peers._add(namespace, peer)  # type: ignore[arg-type]

    def left(self, peer: NativePeer, namespace: str) -> None:
        self._leaving = peer
        self._hub.peers._discard(namespace, peer)  # type: ignore[arg-type]
        if self._hub.attendance is not None:
            for topic in peer.topics:
                self.unsubscribed(peer, topic)
        self._hub.gate.release()

    def ended(self, peer: NativePeer) -> None:
        """`close` has run, or has begun to."""
        if (end := self._ends.pop(peer, None)) is not None and not end.done():
            end.set_result(None)
        for _, waiter in self._drains.pop(peer, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait_closed(self, peer: NativePeer) -> None:
        if peer.state is not ReadyState.CLOSED:
            end = self._ends.setdefault(peer, self._engine.loop.create_future())
            await asyncio.shield(end)
        if (tasks := self._tasks.get(peer)) is not None:
            await tasks.wait()

    async def wait_for_drain(self, peer: NativePeer, threshold: int) -> None:
        """A queue that the socket does not hold up is written at the end of this turn."""
        await asyncio.sleep(0)
        while peer.state is ReadyState.OPEN and peer.buffered_amount > threshold:
            waiter: asyncio.Future[None] = self._engine.loop.create_future()
            self._drains.setdefault(peer, []).append((threshold, waiter))
            peer._watch(True)
            await waiter

    def written(self, peer: NativePeer) -> None:
        """The queue of a peer that somebody waits for is empty."""
        peer._watch(False)
        for _, waiter in self._drains.pop(peer, ()):
            if not waiter.done():
                waiter.set_result(None)

    # Hooks that have to be awaited.

    def spawn(self, peer: NativePeer, waiting: Any) -> None:
        tasks = self._tasks.setdefault(peer, Tasks())
        task = tasks.start(self._work(peer, waiting))
        task.add_done_callback(lambda _task: self._forget(peer, tasks))

    def cancel(self) -> None:
        """Cancel the hooks that run, but for those that are the last of their peers."""
        for peer, tasks in tuple(self._tasks.items()):
            if peer.state is not ReadyState.CLOSED or peer.waiting:
                tasks.cancel()

    async def finish(self) -> None:
        """Wait for the hooks that run."""
        while self._tasks:
            for tasks in tuple(self._tasks.values()):
                await tasks.wait()
            # A task that has ended is forgotten in the next turn.
            await asyncio.sleep(0)

    async def finish_within(self, seconds: float) -> None:
        """Let the hooks that run end, and cancel those that do not in time."""
        for patience in (seconds, LAST_GRACE):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.finish()
            for tasks in tuple(self._tasks.values()):
                tasks.cancel()

    def _forget(self, peer: NativePeer, tasks: Tasks) -> None:
        if not tasks and self._tasks.get(peer) is tasks:
            del self._tasks[peer]

    async def _work(self, peer: NativePeer, waiting: Any) -> None:
        """Await a hook, and go on with the mailbox until it is empty (`Session._work`)."""
        while waiting is not None:
            await self._settle(peer, waiting)
            waiting = peer._go_on()

    async def _settle(self, peer: NativePeer, waiting: Any) -> None:
        try:
            await waiting
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as raised:
            error = error_of(raised)
            if error is None:
                peer._cancelled()
            elif (again := peer._report(error)) is not None:
                await self._settle_error(peer, again)

    async def _settle_error(self, peer: NativePeer, waiting: Any) -> None:
        try:
            await waiting
        except Exception as second:
            self.error_failed(peer, second)
