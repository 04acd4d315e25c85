"""What data and media connections share: how they come about, what is known of them, and that they end once."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from crosspeer.peerjs.client.errors import ErrorType, PeerError, PeerTimeout
from crosspeer.peerjs.client.events import Emitter
from crosspeer.peerjs.client.later import Later
from crosspeer.peerjs.client.negotiator import Negotiator
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire.signalling import answer_text, candidate_text, offer_text

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from crosspeer.peerjs.client.log import Log
    from crosspeer.peerjs.client.options import Options
    from crosspeer.peerjs.rtc.frames import Feed
    from crosspeer.peerjs.rtc.port import Channel
    from crosspeer.wire.signalling import Description

MAX_STRAYS: Final = 16

_ending = Tasks()
"""Connections that are being freed: longer than their peer is there, if need be."""


class Provider(Protocol):
    """What a connection needs of the peer that it belongs to."""

    options: Options
    log: Log

    @property
    def id(self) -> str | None: ...

    def _signal(self, text: str) -> None:
        """Send a message to the broker."""
        ...

    def _opened(self, connection: BaseConnection) -> None:
        """The connection is open."""
        ...

    def _forget(self, connection: BaseConnection) -> None:
        """The connection has ended."""
        ...

    def _report(self, error: PeerError) -> PeerError:
        """Something went wrong that PeerJS tells by the `error` event of the peer."""
        ...


class BaseConnection(Emitter):
    """A connection to one other peer, from the moment that either side wants it.

    Args:
        peer: the id of the other side.
        offer: the other side's offer; None if it is we who offer.
        timeout: seconds until it has to be open.

    Raises:
        RTCError: the engine makes no connection.
    """

    type: ClassVar[str]
    PREFIX: ClassVar[str]

    def __init__(
        self, peer: str, provider: Provider, *, metadata: Any, offer: Description | None, timeout: float
    ) -> None:
        super().__init__()
        self.peer = peer
        """The id of the peer at the other end."""
        self.metadata = metadata
        """What the caller of `connect` or `call` gave along."""
        self.connection_id = self.PREFIX + secrets.token_urlsafe(9) if offer is None else offer.connection_id
        self.open = False
        """Whether it can be read and written."""
        self.error: PeerError | None = None
        """Why it has ended, or did not come about; None after an ordinary close."""
        self._id = provider.id
        self._provider = provider
        self._is_ended = False
        self._strays = 0
        """Channels that the other side opened beside the one."""
        self._is_incoming = offer is not None
        self._settled = asyncio.Event()
        self._over = asyncio.Event()
        self._freed = Later()
        self._negotiator = Negotiator(self, provider.options.engine, provider.options.ice)
        self._allow(timeout)

    @property
    def id(self) -> str | None:
        """The id of the local peer that this connection belongs to, as PeerJS 0.1 had it."""
        return self._id

    @property
    def is_incoming(self) -> bool:
        """Whether the other side opened it."""
        return self._is_incoming

    @property
    def peer_connection(self) -> Any:
        """The engine's RTCPeerConnection; None after the end."""
        return None if self._is_ended else self._negotiator.link.native

    def close(self) -> Awaitable[None]:
        """Close at once. Await what is returned, or do not, to know that everything is freed."""
        self._end(None)
        return self._freed

    def __repr__(self) -> str:
        state = "closed" if self._is_ended else "open" if self.open else "connecting"
        return f"<{type(self).__name__} {self.connection_id} with {self.peer!r}, {state}>"

    # For the peer.

    def _answered(self, answer: Description) -> None:
        self._negotiator.accept(answer.sdp)

    def _offered_candidate(self, candidate: dict[str, Any]) -> None:
        self._negotiator.add_candidate(candidate)

    def _left(self) -> None:
        """The broker says that the other side is gone."""
        self._end(None if self.open else PeerError(ErrorType.CONNECTION_CLOSED, f"Connection to {self.peer} closed."))

    # For the negotiator.

    def _offer(self, sdp: str) -> None:
        text = offer_text(
            self.peer, self.type, self.connection_id, sdp, metadata=self.metadata, extra=self._offer_extra()
        )
        self._provider._signal(text)

    def _offer_extra(self) -> dict[str, Any]:
        """What the offer of this kind of connection has beside the rest."""
        return {}

    def _answer(self, sdp: str) -> None:
        self._provider._signal(answer_text(self.peer, self.type, self.connection_id, sdp))

    def _candidate(self, candidate: dict[str, Any]) -> None:
        self._provider._signal(candidate_text(self.peer, self.type, self.connection_id, candidate))

    def _adopt(self, channel: Channel) -> None:
        """The other side opened a channel. One that is not wanted is closed."""
        channel.close()
        self._strays += 1
        if self._strays > MAX_STRAYS:
            self._end(PeerError(ErrorType.INVALID_MESSAGE, f"{self.peer} opens one channel after the other."))

    def _receives(self, track: Feed) -> None:
        """The other side sends sound or pictures."""

    def _agreed(self) -> None:
        """Both sides know what is sent."""

    def _linked(self) -> None:
        """Both sides can reach each other."""

    def _ice(self, state: str) -> None:
        self._emit("ice_state_changed", state)
        if state == "failed":
            self._end(PeerError(ErrorType.NEGOTIATION_FAILED, f"Negotiation of connection to {self.peer} failed."))
        elif state == "closed":
            error = PeerError(ErrorType.CONNECTION_CLOSED, f"Connection to {self.peer} closed.")
            self._end(None if self.open else error)

    def _failed(self, reason: str, *, fatal: bool) -> None:
        error = PeerError(ErrorType.WEBRTC, f"{self.peer}: {reason}")
        self._provider._report(error)
        if fatal:
            self._end(error)

    # Inside.

    def _opened(self) -> None:
        self.open = True
        self._deadline.cancel()
        self._settled.set()
        self._provider._opened(self)
        self._emit("open")

    async def _wait_open(self) -> None:
        try:
            await self._settled.wait()
        except asyncio.CancelledError:
            # `await peer.connect(...)`: nobody else has it.
            self.close()
            raise
        if not self.open:
            raise self.error or PeerError(ErrorType.CONNECTION_CLOSED, f"Connection to {self.peer} closed.")

    def _allow(self, timeout: float) -> None:
        """Wait so many seconds for it to open, from now on."""
        self._deadline = asyncio.get_running_loop().call_later(timeout, self._time_out, timeout)

    def _time_out(self, timeout: float) -> None:
        text = f"Connection to {self.peer} did not open within {timeout:g} seconds."
        self._end(PeerTimeout(ErrorType.NEGOTIATION_FAILED, text))

    def _end(self, error: PeerError | None) -> None:
        """End it, once. PeerJS emits `close` only for what was open."""
        if self._is_ended:
            return
        was_open = self.open
        self._is_ended, self.open, self.error = True, False, error
        self._deadline.cancel()
        self._provider._forget(self)
        _ending.start(self._free(self._negotiator.close()))
        self._settled.set()
        self._over.set()
        if error is not None:
            self._emit("error", error)
        if was_open:
            self._emit_close()

    def _emit_close(self) -> None:
        self._emit("close")

    async def _free(self, closing: Awaitable[None]) -> None:
        try:
            await closing
        finally:
            self._freed.done()
