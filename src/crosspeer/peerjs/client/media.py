"""MediaConnection: a call, with sound and pictures to and from one other peer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

from crosspeer.core.errors import MissingExtra
from crosspeer.peerjs.client.connection import BaseConnection
from crosspeer.peerjs.client.errors import ErrorType, PeerError
from crosspeer.peerjs.rtc.frames import MediaError
from crosspeer.peerjs.rtc.port import ChannelEvents, RTCError
from crosspeer.wire.sdp import check_description, check_tracks, tracks
from crosspeer.wire.signalling import hang_up_text, refusal_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from types import TracebackType

    from crosspeer.peerjs.client.connection import Provider
    from crosspeer.peerjs.media.stream import MediaStream
    from crosspeer.peerjs.media.track import Track
    from crosspeer.peerjs.rtc.frames import Feed, Frame
    from crosspeer.peerjs.rtc.port import Channel
    from crosspeer.wire.signalling import Description

    SdpTransform = Callable[[str], str]

Kind = type[BaseException]
LABEL: Final = "undefined"
"""Of the channel that carries nothing: PeerJS 1.5 has it for its closing, which is how hanging up is noticed."""
RING_TIME: Final = 60.0
"""Seconds that a call may ring: nobody answers one who is out of the room."""


class MediaConnection(BaseConnection):
    """A call. Made by `peer.call`, or handed to who listens for `call`, and then to be answered.

    Events: `open()`, `stream(MediaStream)`, `will_close_on_remote()`, `close()`, `error(PeerError)`,
    `ice_state_changed(state)`. It is open when it was answered and both sides have found each other. `stream` comes
    once, with all the tracks of the other side.
    """

    type: ClassVar[str] = "media"
    PREFIX: ClassVar[str] = "mc_"
    EVENTS: ClassVar[frozenset[str]] = frozenset(
        {"open", "stream", "will_close_on_remote", "close", "error", "ice_state_changed"}
    )

    def __init__(
        self,
        peer: str,
        provider: Provider,
        *,
        stream: MediaStream | None = None,
        metadata: Any = None,
        sdp_transform: SdpTransform | None = None,
        offer: Description | None = None,
        timeout: float = RING_TIME,
    ) -> None:
        super().__init__(peer, provider, metadata=metadata, offer=offer, timeout=timeout)
        self.local_stream = stream
        """What is sent: None before `answer`, and for who only receives."""
        self.remote_stream: MediaStream | None = None
        """What the other side sends, if it sends anything; known when it has answered, or we have."""
        self._sdp_transform = sdp_transform
        self._offered = None if offer is None else offer.sdp
        self._received: list[Track] = []
        self._channel: Channel | None = None
        self._has_agreed = asyncio.Event()
        """There is a remote stream, or there will be none."""
        self._is_linked = False
        if offer is None:
            self._send()
            self._adopt(self._negotiator.link.open_channel(LABEL, ordered=False))
            self._negotiator.offer()

    @property
    def data_channel(self) -> Any:
        """The engine's RTCDataChannel by which hanging up is noticed; None before there is one, and after the end."""
        return None if self._channel is None or self._is_ended else self._channel.native

    def answer(
        self, stream: MediaStream | None = None, *, sdp_transform: SdpTransform | None = None
    ) -> MediaConnection:
        """Take a call that comes in: `await` what is returned to have it open. A second time nothing happens.

        Args:
            stream: what to send; None: only listen and look. An answer has a place for sound if the offer has, and
                for pictures likewise; a track without one is left out, as browsers do it.
            sdp_transform: changes the SDP of the answer before the other side gets it.

        Raises:
            ValueError: it is we who call.
        """
        if not self.is_incoming:
            raise ValueError("a call is answered by the other side")
        if self._is_ended or self._offered is None:
            self._provider.log.warning("%s is answered already, or over", self)
            return self
        offer, self._offered = self._offered, None
        self.local_stream = stream
        self._sdp_transform = sdp_transform
        self._send(tracks(offer))
        self._negotiator.answer(offer)
        return self

    async def stream(self) -> MediaStream:
        """What the other side sends, as soon as both sides have agreed on it.

        Raises:
            PeerError: the call has ended before, or the other side sends nothing.
        """
        await self._has_agreed.wait()
        if self.remote_stream is None:
            raise self.error or PeerError(ErrorType.WEBRTC, f"{self.peer} sends no audio and no video.")
        return self.remote_stream

    async def wait_closed(self) -> None:
        """Wait until one side has hung up, or the call has failed."""
        await self._over.wait()

    def close(self) -> Awaitable[None]:
        """Hang up, or refuse. Await what is returned, or do not, to know that everything is freed."""
        self._tell()
        return super().close()

    def __await__(self) -> Generator[Any, None, MediaConnection]:
        """Wait until it is open.

        Raises:
            PeerError: it does not open: peer-unavailable, negotiation-failed (also a `TimeoutError`), webrtc.
        """
        yield from self._wait_open().__await__()
        return self

    async def __aenter__(self) -> MediaConnection:
        return await self

    async def __aexit__(self, kind: Kind | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    # For the peer.

    def _hung_up(self) -> None:
        """The other side has closed it before there was a link."""
        self._end(None if self.open else PeerError(ErrorType.CONNECTION_CLOSED, f"{self.peer} has hung up."))

    # For the negotiator.

    def _offer(self, sdp: str) -> None:
        super()._offer(self._transformed(sdp))

    def _answer(self, sdp: str) -> None:
        super()._answer(self._transformed(sdp))

    def _adopt(self, channel: Channel) -> None:
        if self._channel is not None:
            super()._adopt(channel)
            return
        self._channel = channel
        channel.attach(
            ChannelEvents(opened=self._channel_opened, received=_nothing, drained=_nothing, closed=self._channel_closed)
        )

    def _receives(self, track: Feed) -> None:
        from crosspeer.peerjs.media.track import Track

        self._received.append(Track(track.kind, track.frames()))

    def _agreed(self) -> None:
        # It rings no longer.
        self._deadline.cancel()
        self._allow(self._provider.options.timeout)
        if self._received:
            from crosspeer.peerjs.media.stream import MediaStream

            self.remote_stream = MediaStream(self._received)
        self._has_agreed.set()
        if self.remote_stream is not None:
            self._emit("stream", self.remote_stream)
        self._open_if_ready()

    def _linked(self) -> None:
        self._is_linked = True
        self._open_if_ready()

    # Inside.

    def _open_if_ready(self) -> None:
        if self._is_linked and self._has_agreed.is_set() and not self._is_ended:
            self._opened()

    def _send(self, places: list[str] | None = None) -> None:
        for track in self.local_stream.tracks if self.local_stream is not None else ():
            if places is not None and track.kind not in places:
                self._provider.log.warning("%s offers no place for %s, so none is sent", self.peer, track.kind)
                continue
            if places is not None:
                places.remove(track.kind)
            self._negotiator.link.add_track(_Outgoing(track, self._track_failed))

    def _transformed(self, sdp: str) -> str:
        if self._sdp_transform is None:
            return sdp
        try:
            return self._sdp_transform(sdp) or sdp
        except Exception as error:
            raise ValueError(f"sdp_transform failed: {error!r}") from error

    def _track_failed(self, error: MediaError) -> None:
        if not self._is_ended:
            self._emit("error", PeerError(ErrorType.WEBRTC, f"In the call with {self.peer} {error}"))

    def _channel_opened(self) -> None:
        self._emit("will_close_on_remote")

    def _channel_closed(self) -> None:
        self._end(None if self.open else PeerError(ErrorType.CONNECTION_CLOSED, f"{self.peer} has hung up."))

    def _tell(self) -> None:
        """Closing a link tells the other side, once it is open. PeerJS leaves those waiting who have not got so far."""
        if self._is_ended or self.open:
            return
        text = refusal_text if self._offered is not None else hang_up_text
        self._provider._signal(text(self.peer, self.connection_id))

    def _time_out(self, timeout: float) -> None:
        self._tell()
        super()._time_out(timeout)

    def _end(self, error: PeerError | None) -> None:
        if self._is_ended:
            return
        super()._end(error)
        self._has_agreed.set()
        for track in self._received:
            track.stop()


class _Outgoing:
    """A track of ours in a call, which is told when the track fails."""

    def __init__(self, track: Track, failed: Callable[[MediaError], None]) -> None:
        self.kind: Final = track.kind
        self._track = track
        self._failed = failed

    async def frames(self) -> AsyncGenerator[Frame, None]:
        try:
            async with aclosing(self._track.frames()) as frames:
                async for frame in frames:
                    yield frame
        except MediaError as error:
            self._failed(error)


def check_call(sdp: str) -> None:
    """Look whether an offer is one of a call, and whether a call can be taken here.

    Raises:
        ValueError: the offer is none.
        RTCError: what calls need is not installed.
    """
    check_description(sdp)
    check_tracks(sdp, MediaConnection.type)
    try:
        import_module("crosspeer.peerjs.media")
    except MissingExtra as error:
        raise RTCError(f"a call cannot be taken: {error}") from error


def _nothing(*_: object) -> None:
    """Nothing is said on this channel."""
