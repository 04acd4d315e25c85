"""What the client needs of a WebRTC engine: links to one other side, with data channels, sound and pictures over them.

PeerJS has one RTCPeerConnection for each of its connections, and negotiates it once: one offer, one answer. So a link
does, and more than that it does not have to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from crosspeer.core.errors import CrosspeerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from crosspeer.peerjs.rtc.config import IceConfig
    from crosspeer.peerjs.rtc.frames import Feed

MAX_MESSAGE_SIZE: Final = 256 * 1024
"""Bytes that both engines send and take in one message; browsers too."""
LOW_MARK: Final = 64 * 1024
"""Bytes that a channel has not sent yet when it tells that it is `drained`."""


class RTCError(CrosspeerError):
    """The engine could not do what was asked: a description is wrong, or a channel is not open."""


class LinkClosed(RTCError):
    """The link was closed while the engine was at work for it."""


class Engine(Protocol):
    """A WebRTC library."""

    name: str

    def link(self, config: IceConfig, events: LinkEvents) -> Link:
        """Make a link that is not connected yet. Called on the event loop, as everything here.

        Raises:
            RTCError: the library refuses the configuration.
        """
        ...


class LinkEvents(Protocol):
    """Who is told what happens to a link, perhaps even after `Link.close`. Nothing here may raise or wait."""

    def candidate_found(self, candidate: dict[str, Any]) -> None:
        """A way to this side was found: an `RTCIceCandidateInit`. An engine that cannot trickle never tells."""
        ...

    def channel_opened(self, channel: Channel) -> None:
        """The other side opened a channel. It MUST be attached before this returns, or messages are lost."""
        ...

    def track_added(self, track: Feed) -> None:
        """The other side sends sound or pictures. Told before `Link.answer` or `Link.accept` returns."""
        ...

    def link_opened(self) -> None:
        """The other side is found, and it is the right one: whatever is sent from now on arrives. Once."""
        ...

    def ice_state_changed(self, state: str) -> None:
        """new, checking, connected, completed, disconnected, failed or closed.

        Also closed: the other side has closed the link, as far as the engine notices.
        """
        ...


class Link(Protocol):
    """One RTCPeerConnection."""

    native: Any
    """The engine's own object, for whoever needs more than this port."""

    def open_channel(self, label: str, *, ordered: bool) -> Channel:
        """Open a channel; to be called before `offer`, and by the side that offers."""
        ...

    def add_track(self, track: Feed) -> None:
        """Send sound or pictures, as soon as the link is open; to be called before `offer` or `answer`.

        Raises:
            RTCError: the link is closed.
        """
        ...

    async def offer(self) -> str:
        """Make an offer and begin to look for ways; candidates come from now on.

        What the engine does wrong or refuses is an `RTCError` here and in the next three, and a `LinkClosed` if the
        link was closed meanwhile.
        """
        ...

    async def answer(self, offer: str) -> str:
        """Take the other side's offer and make the answer."""
        ...

    async def accept(self, answer: str) -> None:
        """Take the other side's answer."""
        ...

    async def add_candidate(self, candidate: Mapping[str, Any]) -> None:
        """Take a way to the other side; not before its description. May take seconds: nothing should wait for it."""
        ...

    def close(self) -> Awaitable[None]:
        """Close at once, with all channels, and tell the other side. What is returned is done when all is freed.

        MUST be called once for every link: engines free none that is only dropped.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChannelEvents:
    """Whom a channel tells what happens, in the order in which it happens. None of them may raise or wait."""

    opened: Callable[[], None]
    received: Callable[[str | bytes], None]
    drained: Callable[[], None]
    """What is not sent yet fell to `LOW_MARK`."""
    closed: Callable[[], None]
    """By either side; perhaps not by `Link.close`."""


class Channel(Protocol):
    """One data channel."""

    native: Any
    label: str
    ordered: bool

    @property
    def buffered_amount(self) -> int:
        """Bytes that were handed over and not sent yet."""
        ...

    def attach(self, events: ChannelEvents) -> None:
        """Report to somebody from now on. `opened` follows in every case, perhaps at once."""
        ...

    def send(self, data: str | bytes) -> None:
        """Send a message: text, or binary. It is queued without a bound that matters here.

        Raises:
            RTCError: the channel is not open, or its queue is full.
        """
        ...

    def close(self) -> None:
        """Close after everything that was sent before has arrived; `closed` follows. A second time does nothing."""
        ...
