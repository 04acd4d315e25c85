"""The engine `wrtc`: Chrome's own WebRTC. The module of that package is called `webrtc`.

Its callbacks run on the event loop, one after the other. Two of its ways need care: closing a connection cancels every
call that is pending on it, and a connection that is dropped without `close` is never freed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import webrtc

from crosspeer.peerjs.rtc.port import LOW_MARK, LinkClosed, RTCError
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping

    from crosspeer.peerjs.rtc.config import IceConfig
    from crosspeer.peerjs.rtc.frames import Feed
    from crosspeer.peerjs.rtc.port import ChannelEvents, Engine, LinkEvents

T = TypeVar("T")

_REFUSED: Final = (webrtc.RTCException, TypeError, ValueError)
"""What its calls raise for arguments that it does not like."""


class WrtcEngine:
    name = "wrtc"

    def link(self, config: IceConfig, events: LinkEvents) -> WrtcLink:
        return WrtcLink(config, events)


class WrtcLink:
    def __init__(self, config: IceConfig, events: LinkEvents) -> None:
        try:
            self.native = webrtc.RTCPeerConnection(_configuration(config))
        except _REFUSED as error:
            raise RTCError(str(error)) from error
        self._events = events
        self._closed = False
        self._opened = False
        self._sent: list[Any] = []
        self._stream: webrtc.MediaStream | None = None
        self._tasks = Tasks()
        self.native.on("icecandidate", self._on_candidate)
        self.native.on("datachannel", self._on_channel)
        self.native.on("track", self._on_track)
        self.native.on("iceconnectionstatechange", self._on_ice_state)
        self.native.on("connectionstatechange", self._on_state)

    def open_channel(self, label: str, *, ordered: bool) -> WrtcChannel:
        return WrtcChannel(self.native.create_data_channel(label, webrtc.RTCDataChannelInit(ordered=ordered)))

    def add_track(self, track: Feed) -> None:
        # Only calls need numpy.
        from crosspeer.peerjs.rtc.wrtc_media import Sent

        sent = Sent(track, self._tasks)
        # The other side gets all tracks in one stream.
        self._stream = self._stream or webrtc.MediaStream()
        try:
            self.native.add_track(sent.native, self._stream)
        except _REFUSED as error:
            raise RTCError(str(error)) from error
        self._sent.append(sent)

    async def offer(self) -> str:
        return await self._call(self._offer())

    async def answer(self, offer: str) -> str:
        return await self._call(self._answer(offer))

    async def accept(self, answer: str) -> None:
        await self._call(self.native.set_remote_description(_description("answer", answer)))

    async def add_candidate(self, candidate: Mapping[str, Any]) -> None:
        await self._call(self._add(candidate))

    def close(self) -> Awaitable[None]:
        self._closed = True
        self._tasks.cancel()
        self.native.close()
        freed = asyncio.get_running_loop().create_future()
        freed.set_result(None)
        return freed

    # Inside.

    async def _offer(self) -> str:
        offer = await self.native.create_offer()
        await self.native.set_local_description(offer)
        return offer.sdp

    async def _answer(self, offer: str) -> str:
        await self.native.set_remote_description(_description("offer", offer))
        answer = await self.native.create_answer()
        await self.native.set_local_description(answer)
        return answer.sdp

    async def _add(self, candidate: Mapping[str, Any]) -> None:
        await self.native.add_ice_candidate(webrtc.RTCIceCandidateInit.from_json(candidate))

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise LinkClosed("the connection was closed") from None
        except _REFUSED as error:
            raise (LinkClosed if self._closed else RTCError)(str(error)) from error

    def _on_candidate(self, event: webrtc.RTCPeerConnectionIceEvent) -> None:
        if event.candidate is not None and event.candidate.candidate:
            self._events.candidate_found(dict(event.candidate.to_json()))

    def _on_channel(self, event: webrtc.RTCDataChannelEvent) -> None:
        self._events.channel_opened(WrtcChannel(event.channel))

    def _on_track(self, event: webrtc.RTCTrackEvent) -> None:
        from crosspeer.peerjs.rtc.wrtc_media import Received

        self._events.track_added(Received(event.track))

    def _on_ice_state(self, event: webrtc.Event) -> None:
        self._events.ice_state_changed(self.native.ice_connection_state.value)

    def _on_state(self, event: webrtc.Event) -> None:
        if self._opened or self.native.connection_state != webrtc.RTCPeerConnectionState.connected:
            return
        self._opened = True
        for sent in self._sent:
            sent.start()
        self._watch()
        self._events.link_opened()

    def _watch(self) -> None:
        """Notice at once that the other side has closed a call, also where no channel tells it."""
        transports = (each.receiver.transport for each in self.native.get_transceivers())
        # All tracks share one.
        if (transport := next((each for each in transports if each is not None), None)) is None:
            return

        def changed(event: webrtc.Event) -> None:
            if transport.state == webrtc.RTCDtlsTransportState.closed and not self._closed:
                self._events.ice_state_changed("closed")

        transport.on("statechange", changed)


class WrtcChannel:
    def __init__(self, native: webrtc.RTCDataChannel) -> None:
        self.native = native
        self.label = native.label
        self.ordered = native.ordered

    @property
    def buffered_amount(self) -> int:
        return self.native.buffered_amount

    def attach(self, events: ChannelEvents) -> None:
        received = events.received

        def on_message(event: webrtc.MessageEvent) -> None:
            # No Blob: that would be asked for by `binary_type`.
            received(event.data)  # type: ignore[arg-type]

        # A channel that the other side opened reads open here already; its event comes all the same.
        self.native.on("open", lambda event: events.opened())
        self.native.on("message", on_message)
        self.native.on("bufferedamountlow", lambda event: events.drained())
        self.native.on("close", lambda event: events.closed())
        self.native.buffered_amount_low_threshold = LOW_MARK

    def send(self, data: str | bytes) -> None:
        try:
            self.native.send(data)
        except _REFUSED as error:
            raise RTCError(str(error)) from error

    def close(self) -> None:
        self.native.close()


def _configuration(config: IceConfig) -> webrtc.RTCConfiguration:
    return webrtc.RTCConfiguration(
        ice_servers=[
            webrtc.RTCIceServer(urls=list(server.urls), username=server.username, credential=server.credential)
            for server in config.servers
        ],
        ice_transport_policy=webrtc.RTCIceTransportPolicy.relay
        if config.relay_only
        else webrtc.RTCIceTransportPolicy.all,
    )


def _description(kind: str, sdp: str) -> webrtc.RTCSessionDescriptionInit:
    return webrtc.RTCSessionDescriptionInit(type=webrtc.RTCSdpType(kind), sdp=sdp)


ENGINE: Final[Engine] = WrtcEngine()
