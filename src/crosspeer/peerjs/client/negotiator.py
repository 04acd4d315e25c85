"""How one connection comes about: an offer, an answer, and the candidates of both sides, in whatever order they come.

PeerJS negotiates a connection once. What the engine is asked to do runs in tasks of this connection, so a slow one
holds up nobody, and one that closes in the middle breaks nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from crosspeer.peerjs.rtc.port import LinkClosed, RTCError
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire.sdp import MAX_CANDIDATES, check_candidate, check_description, check_tracks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from crosspeer.peerjs.rtc.config import IceConfig
    from crosspeer.peerjs.rtc.frames import Feed
    from crosspeer.peerjs.rtc.port import Channel, Engine


class Negotiated(Protocol):
    """What a connection is told by its negotiator, and sends for it."""

    type: ClassVar[str]

    def _offer(self, sdp: str) -> None: ...

    def _answer(self, sdp: str) -> None: ...

    def _candidate(self, candidate: dict[str, Any]) -> None: ...

    def _adopt(self, channel: Channel) -> None:
        """The other side opened a channel."""
        ...

    def _receives(self, track: Feed) -> None:
        """The other side sends sound or pictures."""
        ...

    def _agreed(self) -> None:
        """Both sides know what is sent."""
        ...

    def _linked(self) -> None:
        """Both sides can reach each other."""
        ...

    def _ice(self, state: str) -> None: ...

    def _failed(self, reason: str, *, fatal: bool) -> None:
        """The engine refused something; `fatal` means that this connection will never open."""
        ...


class Negotiator:
    """The link of one connection, and what is still to be told to either side of it.

    Raises:
        RTCError: the engine makes no link.
    """

    def __init__(self, connection: Negotiated, engine: Engine, config: IceConfig) -> None:
        self._connection = connection
        self._tasks: Final = Tasks()
        self._is_announced = False
        """Our description is on its way, so candidates may follow."""
        self._found: list[dict[str, Any]] = []
        self._expects_answer = False
        self._has_remote = False
        self._early: list[dict[str, Any]] = []
        self._candidates = 0
        self._is_closed = False
        self.link: Final = engine.link(config, self)

    def offer(self) -> None:
        """Make an offer and send it."""
        self._expects_answer = True
        self._start(self._offer)

    def answer(self, offer: str) -> None:
        """Answer the offer of the other side."""
        self._start(self._answer, offer)

    def accept(self, answer: str) -> None:
        """Take the other side's answer. A second one, or one that nobody asked for, is left out."""
        if self._expects_answer:
            self._expects_answer = False
            self._start(self._accept, answer)

    def add_candidate(self, candidate: dict[str, Any]) -> None:
        """Take a candidate of the other side, also before its description."""
        self._candidates += 1
        if self._candidates > MAX_CANDIDATES or self._is_closed:
            return
        if self._has_remote:
            self._start(self._add, candidate)
        else:
            self._early.append(candidate)

    def close(self) -> Awaitable[None]:
        """Close the link. To be called once, whatever has become of it."""
        self._is_closed = True
        self._early.clear()
        self._found.clear()
        return self.link.close()

    # The link's events.

    def candidate_found(self, candidate: dict[str, Any]) -> None:
        if self._is_closed:
            return
        if self._is_announced:
            self._connection._candidate(candidate)
        else:
            self._found.append(candidate)

    def channel_opened(self, channel: Channel) -> None:
        if not self._is_closed:
            self._connection._adopt(channel)

    def track_added(self, track: Feed) -> None:
        if not self._is_closed:
            self._connection._receives(track)

    def link_opened(self) -> None:
        if not self._is_closed:
            self._connection._linked()

    def ice_state_changed(self, state: str) -> None:
        if not self._is_closed:
            self._connection._ice(state)

    # Inside.

    def _start(self, step: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        self._tasks.start(self._run(step, *arguments))

    async def _run(self, step: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        try:
            await step(*arguments)
        except LinkClosed:
            return
        except (RTCError, ValueError) as error:
            if not self._is_closed:
                self._connection._failed(str(error), fatal=not self._is_announced or not self._has_remote)

    async def _offer(self) -> None:
        self._announce(await self.link.offer(), self._connection._offer)

    async def _answer(self, offer: str) -> None:
        self._check(offer)
        answer = await self.link.answer(offer)
        self._take_early()
        self._announce(answer, self._connection._answer)
        self._agree()

    async def _accept(self, answer: str) -> None:
        self._check(answer)
        await self.link.accept(answer)
        self._take_early()
        self._agree()

    async def _add(self, candidate: dict[str, Any]) -> None:
        if candidate["candidate"]:
            check_candidate(candidate["candidate"])
            await self.link.add_candidate(candidate)

    def _check(self, sdp: str) -> None:
        check_description(sdp)
        check_tracks(sdp, self._connection.type)

    def _agree(self) -> None:
        if not self._is_closed:
            self._connection._agreed()

    def _announce(self, sdp: str, send: Callable[[str], None]) -> None:
        if self._is_closed:
            return
        send(sdp)
        self._is_announced = True
        found, self._found = self._found, []
        for candidate in found:
            self._connection._candidate(candidate)

    def _take_early(self) -> None:
        self._has_remote = True
        early, self._early = self._early, []
        for candidate in early:
            self._start(self._add, candidate)
