"""The life of one connection: its state, its hooks in order, its queue and its topics.

A session is driven by a transport (`core.transport` says how) and knows nothing of loops or sockets. Its hooks run one
at a time: what happens while one runs waits in a mailbox, and a full mailbox pauses the reading of this peer alone.
"""

from __future__ import annotations

import logging
from collections import deque
from enum import IntEnum
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.errors import LimitExceeded, error_of
from crosspeer.core.hooks import CloseDetails
from crosspeer.core.message import Message
from crosspeer.core.outbox import Outbox
from crosspeer.core.peer import Peer
from crosspeer.core.topics import check_topic
from crosspeer.wire.closing import CloseCode, check_close

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crosspeer.core.admission import Admission
    from crosspeer.core.fanout import Fanout
    from crosspeer.core.heartbeat import Pulse
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.transport import Transport

logger = logging.getLogger("crosspeer")

MAX_CONTROL_PAYLOAD: Final = 125
"""RFC 6455 section 5.5."""


class ReadyState(IntEnum):
    """Where a connection stands, with the numbers of the web's `WebSocket.readyState`."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


_OPEN: Final = ReadyState.OPEN
"""For the hot path: a member of an enum is looked up twice."""


class Session:
    """One admitted handshake and what becomes of it. The transport holds it; hooks see its `peer`."""

    __slots__ = (
        "_busy",
        "_drain_waits",
        "_mailbox",
        "_most_waiting",
        "_paused",
        "_verdict",
        "accepted",
        "fanout",
        "hooks",
        "hub",
        "namespace",
        "outbox",
        "peer",
        "pulse",
        "request",
        "state",
        "topics",
        "transport",
    )

    transport: Transport
    fanout: Fanout
    """Both set by `start`; nothing is called that needs it before."""

    def __init__(self, admission: Admission) -> None:
        hub = admission.hub
        self.hub = hub
        self.request = admission.request
        self.hooks = admission.hooks
        self.accepted = admission.accepted
        self.namespace = admission.namespace
        self.state = ReadyState.CONNECTING
        self.outbox = Outbox(hub.limits)
        self.topics: set[str] = set()
        self.peer = Peer(self)
        self.pulse: Pulse | None = None
        """Set by a transport whose peers the hub's heartbeat watches."""
        self._mailbox: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._most_waiting = hub.limits.max_waiting_messages
        self._busy = False
        self._paused = False
        self._drain_waits = False
        self._verdict: CloseDetails | None = None

    # What the transport reports.

    def start(self, transport: Transport, fanout: Fanout | None = None) -> None:
        """The handshake is done: the peer appears and `open` runs. An engine brings its own fan-out."""
        self.transport = transport
        self.fanout = self.hub.fanout if fanout is None else fanout
        self.state = ReadyState.OPEN
        self.hub._enter(self)
        self._happen(self.hooks.open)

    def abandon(self) -> None:
        """The handshake came to nothing: no hook runs, and the place of the connection is free again."""
        if self.state is ReadyState.CONNECTING:
            self.state = ReadyState.CLOSED
            self.hub.gate.release()

    def receive(self, data: str | bytes) -> None:
        """A complete message came in."""
        hook = self.hooks.message
        if self.state is not _OPEN or hook is None:
            return
        message = Message(self.peer, data)
        if self._busy:
            self._happen(hook, message)
            return
        # What `_happen` does, without its generality: this is the hot path of every message.
        self._busy = True
        try:
            result = hook(self.peer, message)
        except BaseException as raised:
            result = self._raised(raised)
        if result is None and not self._mailbox:
            self._busy = False
        else:
            self._go_on(result)

    def pinged(self, data: bytes) -> None:
        """A ping came in, and was answered by the transport."""
        if self.pulse is not None:
            self.pulse.heard()
        if self.state is ReadyState.OPEN:
            self._happen(self.hooks.ping, data)

    def ponged(self, data: bytes) -> None:
        """A pong came in that was not the server's heartbeat's."""
        if self.pulse is not None:
            self.pulse.heard()
            if self.pulse.is_answer(data):
                return
        if self.state is ReadyState.OPEN:
            self._happen(self.hooks.pong, data)

    def drained(self) -> None:
        """The outbox is empty and written, after the connection had held it up."""
        if self.state is ReadyState.OPEN and self.hooks.drain is not None and not self._drain_waits:
            self._drain_waits = True
            self._happen(self._drain)

    def closed(self, details: CloseDetails) -> None:
        """The connection is gone: the peer leaves at once, `close` runs after what came in before."""
        if self.state is ReadyState.CONNECTING:
            self.abandon()
        if self.state is ReadyState.CLOSED:
            return
        self.state = ReadyState.CLOSED
        self.outbox.clear()
        self._leave_topics()
        self.hub._leave(self)
        if self._verdict is not None and not details.was_clean:
            details = self._verdict
        if not details.was_clean:
            self.hub.violations.note(details, self.request.remote_address)
        self._happen(self.hooks.close, details)

    async def wait_closed(self) -> None:
        """Wait until the connection is gone and `close` has ended."""
        await self.transport.wait_closed()

    @property
    def protocol(self) -> str:
        return self.transport.protocol

    @property
    def extensions(self) -> str:
        return self.transport.extensions

    @property
    def buffered_amount(self) -> int:
        return self.outbox.size + (self.transport.taken if self.state else 0)

    @property
    def waiting(self) -> int:
        """How many events wait for the hook that runs."""
        return len(self._mailbox)

    @property
    def is_at_its_end(self) -> bool:
        """Whether the peer is gone, and no hook waits behind the one that runs: that is its last."""
        return self.state is ReadyState.CLOSED and not self._mailbox

    # What the application asks for.

    def push(self, item: Outgoing) -> bool:
        """Queue a message. False: the queue is full and the peer is to be closed (`overflow`)."""
        return self.state is not _OPEN or self.transport.push(item)

    def overflow(self) -> None:
        """Close a peer that does not read, without what waits for it."""
        self.finish(CloseCode.TRY_LATER, "the outgoing queue is full")

    def close(self, code: int, reason: str) -> None:
        """Close politely: what is queued goes out first. What comes in from now on is not seen."""
        check_close(code, reason)
        if self.state is ReadyState.OPEN:
            self._stop()
            self._verdict = CloseDetails(code, reason, was_clean=False)
            self.transport.close(code, reason, now=False)

    def finish(self, code: int, reason: str) -> None:
        """Close because of a limit: what is queued is dropped and the close frame goes out at once."""
        if self.state is ReadyState.OPEN:
            self._stop()
            self.outbox.clear()
            self._verdict = CloseDetails(code, reason, was_clean=False)
            self.transport.close(code, reason, now=True)

    def terminate(self) -> None:
        """Drop the connection."""
        if self.state in (ReadyState.OPEN, ReadyState.CLOSING):
            self._stop()
            self.outbox.clear()
            self._verdict = CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)
            self.transport.abort()

    def ping(self, data: bytes) -> None:
        if len(data) > MAX_CONTROL_PAYLOAD:
            raise ValueError(f"a ping carries at most {MAX_CONTROL_PAYLOAD} bytes, not {len(data)}")
        if self.state is ReadyState.OPEN:
            self.transport.ping(data)

    def subscribe(self, topic: str) -> bool:
        """Subscribe. False: that changes nothing."""
        limits = self.hub.limits
        check_topic(topic, limits.max_topic_length)
        if topic in self.topics or self.state is not ReadyState.OPEN:
            return False
        if len(self.topics) >= limits.max_topics:
            raise LimitExceeded(f"peer {self.peer} has {len(self.topics)} topics: Limits.max_topics allows no more")
        self.topics.add(topic)
        self.fanout.add(topic, self)
        return True

    def unsubscribe(self, topic: str) -> None:
        if topic in self.topics:
            self.topics.discard(topic)
            self.fanout.discard(topic, self)
            self.hub.unsubscribed(self.peer, topic)

    # Inside.

    def _stop(self) -> None:
        """Nothing goes to the peer any more, and nothing of it is seen."""
        self.state = ReadyState.CLOSING
        self._mailbox.clear()
        self._leave_topics()

    def _leave_topics(self) -> None:
        """Leave the index; `topics` stays, so that `close` still knows where to say goodbye."""
        for topic in self.topics:
            self.fanout.discard(topic, self)
            self.hub.unsubscribed(self.peer, topic)

    def _drain(self, peer: Peer) -> Any:
        self._drain_waits = False
        return self.hooks.drain(peer) if self.hooks.drain else None

    def _happen(self, hook: Callable[..., Any] | None, *args: Any) -> None:
        """Run a hook now, or after the ones that run and wait."""
        if hook is None:
            return
        if self._busy:
            self._mailbox.append((hook, args))
            if not self._paused and len(self._mailbox) >= self._most_waiting:
                self._paused = True
                self.transport.pause_reading()
            return
        self._busy = True
        self._go_on(self._call(hook, args))

    def _go_on(self, result: Any) -> None:
        """After a hook: with what it has to be awaited for, or with what waits behind it."""
        waiting = result if result is not None and isawaitable(result) else self._run_mailbox()
        if waiting is None:
            self._busy = False
        else:
            self.transport.spawn(self._work(waiting))

    def _run_mailbox(self) -> Awaitable[Any] | None:
        """Run what waits until a hook has to be awaited, or nothing is left."""
        waiting = None
        while waiting is None and self._mailbox:
            hook, args = self._mailbox.popleft()
            if self._paused and len(self._mailbox) < self._most_waiting:
                self._paused = False
                self.transport.resume_reading()
            waiting = self._call(hook, args)
        return waiting

    async def _work(self, waiting: Awaitable[Any] | None) -> None:
        """Await a hook, and go on with the mailbox until it is empty."""
        while waiting is not None:
            await self._settle(waiting)
            waiting = self._run_mailbox()
        self._busy = False

    def _call(self, hook: Callable[..., Any], args: tuple[Any, ...]) -> Awaitable[Any] | None:
        try:
            result = hook(self.peer, *args)
        except BaseException as raised:
            return self._raised(raised)
        return result if result is not None and isawaitable(result) else None

    async def _settle(self, waiting: Awaitable[Any]) -> None:
        try:
            await waiting
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as raised:
            error = error_of(raised)
            if error is not None:
                again = self._report(error)
                if again is not None:
                    await self._settle_error(again)
                return
            # Cancelled, by a shutdown at its deadline or by the hook's own doing: only `close` is still to run.
            self._mailbox = deque(entry for entry in self._mailbox if entry[0] is self.hooks.close)
            self.terminate()

    def _raised(self, raised: BaseException) -> Awaitable[Any] | None:
        """Hand what a hook has raised to `error`, or on to the loop."""
        error = error_of(raised)
        if error is None:
            raise raised
        return self._report(error)

    def _report(self, error: Exception) -> Awaitable[Any] | None:
        """Hand an exception to the `error` hook."""
        try:
            result = self.hooks.error(self.peer, error)
        except Exception as second:
            self._error_failed(second)
            return None
        return result if isawaitable(result) else None

    async def _settle_error(self, waiting: Awaitable[Any]) -> None:
        try:
            await waiting
        except Exception as second:
            self._error_failed(second)

    def _error_failed(self, error: Exception) -> None:
        logger.error("the error hook of peer %s failed", self.peer, exc_info=error)
        self.close(CloseCode.INTERNAL_ERROR, "internal error")
