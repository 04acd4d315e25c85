"""The engine `aiortc`: WebRTC in Python. Slower, and installable where `wrtc` is not.

It cannot trickle: its descriptions have all candidates in them. Whatever it is given is parsed by Python code that
raises what comes up, so every exception of its calls counts as a refusal.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiortc
from aiortc.sdp import candidate_from_sdp

from crosspeer.peerjs.rtc.guard import SctpGuard
from crosspeer.peerjs.rtc.port import LOW_MARK, LinkClosed, RTCError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from crosspeer.peerjs.rtc.config import IceConfig
    from crosspeer.peerjs.rtc.frames import Feed
    from crosspeer.peerjs.rtc.port import ChannelEvents, Engine, LinkEvents

T = TypeVar("T")

logger = logging.getLogger("crosspeer.peerjs")

_closing: set[asyncio.Task[None]] = set()
"""The loop keeps no task alive by itself."""


class AiortcEngine:
    name = "aiortc"

    def link(self, config: IceConfig, events: LinkEvents) -> AiortcLink:
        return AiortcLink(config, events)


class AiortcLink:
    def __init__(self, config: IceConfig, events: LinkEvents) -> None:
        self.native = aiortc.RTCPeerConnection(_configuration(config))
        self._events = events
        self._closed = False
        self._opened = False
        self._describing: asyncio.Task[str] | None = None
        self._sent: list[Any] = []
        self._received: list[Any] = []
        self.native.on("datachannel", self._on_channel)
        self.native.on("track", self._on_track)
        self.native.on("iceconnectionstatechange", self._on_ice_state)
        self.native.on("connectionstatechange", self._on_state)

    def open_channel(self, label: str, *, ordered: bool) -> AiortcChannel:
        # It writes the length in characters before the bytes. Nobody reads this label: the offer has it too.
        plain = label.encode("ascii", "backslashreplace").decode()
        return AiortcChannel(self.native.createDataChannel(plain, ordered=ordered))

    def add_track(self, track: Feed) -> None:
        # Only calls need numpy.
        from crosspeer.peerjs.rtc.aiortc_media import Sent

        sent = Sent(track)
        try:
            self.native.addTrack(sent)
        except Exception as error:
            raise RTCError(f"{type(error).__name__}: {error}") from error
        self._sent.append(sent)

    async def offer(self) -> str:
        return await self._call(self._describe(self._offer()))

    async def answer(self, offer: str) -> str:
        return await self._call(self._describe(self._answer(offer)))

    async def accept(self, answer: str) -> None:
        await self._call(self.native.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer")))

    async def add_candidate(self, candidate: Mapping[str, Any]) -> None:
        await self._call(self._add(candidate))

    def close(self) -> Awaitable[None]:
        self._closed = True
        task = asyncio.get_running_loop().create_task(self._close())
        _closing.add(task)
        task.add_done_callback(_closing.discard)
        return task

    # Inside.

    async def _close(self) -> None:
        try:
            if self._describing is not None:
                # It looks for its addresses in there, and leaves open sockets behind if it is closed, or stopped.
                await asyncio.gather(self._describing, return_exceptions=True)
            await self.native.close()
            for sent in self._sent:
                await sent.close()
        except Exception as error:
            logger.debug("aiortc could not close a connection cleanly", exc_info=error)
        finally:
            for received in self._received:
                received.stop()

    async def _describe(self, work: Coroutine[Any, Any, str]) -> str:
        self._describing = asyncio.get_running_loop().create_task(work)
        return await asyncio.shield(self._describing)

    async def _offer(self) -> str:
        self._guard()
        await self.native.setLocalDescription(await self.native.createOffer())
        return self.native.localDescription.sdp

    async def _answer(self, offer: str) -> str:
        await self.native.setRemoteDescription(aiortc.RTCSessionDescription(offer, "offer"))
        self._guard()
        await self.native.setLocalDescription(await self.native.createAnswer())
        return self.native.localDescription.sdp

    def _guard(self) -> None:
        """Stand before aiortc's transports, see `guard`.

        Empty datagrams are left out too: anybody can send one to an open port, and aiortc ends the connection for it.
        """
        transports = [transceiver.receiver.transport for transceiver in self.native.getTransceivers()]
        if self.native.sctp is not None:
            transports.append(self.native.sctp.transport)
            SctpGuard(self.native.sctp)
        for connection in {transport.transport._connection for transport in transports}:
            connection.data_received = partial(_unless_empty, connection.data_received)  # type: ignore[method-assign]

    async def _add(self, candidate: Mapping[str, Any]) -> None:
        found = candidate_from_sdp(str(candidate["candidate"]).partition(":")[2])
        found.sdpMid = candidate.get("sdpMid")
        found.sdpMLineIndex = candidate.get("sdpMLineIndex")
        await self.native.addIceCandidate(found)

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except Exception as error:
            raise (LinkClosed if self._closed else RTCError)(f"{type(error).__name__}: {error}") from error

    def _on_channel(self, channel: aiortc.RTCDataChannel) -> None:
        self._events.channel_opened(AiortcChannel(channel))

    def _on_track(self, track: aiortc.MediaStreamTrack) -> None:
        from crosspeer.peerjs.rtc.aiortc_media import Received

        received = Received(track)
        self._received.append(received)
        self._events.track_added(received)

    def _on_ice_state(self) -> None:
        self._events.ice_state_changed(self.native.iceConnectionState)

    def _on_state(self) -> None:
        if not self._opened and self.native.connectionState == "connected":
            self._opened = True
            self._events.link_opened()


class AiortcChannel:
    def __init__(self, native: aiortc.RTCDataChannel) -> None:
        self.native = native
        self.label = native.label
        self.ordered = native.ordered

    @property
    def buffered_amount(self) -> int:
        return self.native.bufferedAmount

    def attach(self, events: ChannelEvents) -> None:
        self.native.on("message", events.received)
        self.native.on("bufferedamountlow", events.drained)
        self.native.on("close", events.closed)
        self.native.bufferedAmountLowThreshold = LOW_MARK
        if self.native.readyState == "open":
            # The other side opened it: there is no event.
            events.opened()
        else:
            self.native.on("open", events.opened)

    def send(self, data: str | bytes) -> None:
        try:
            self.native.send(data)
        except Exception as error:
            raise RTCError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self.native.close()


def _unless_empty(take: Callable[[bytes, int], None], data: bytes, component: int) -> None:
    if data:
        take(data, component)


def _configuration(config: IceConfig) -> aiortc.RTCConfiguration:
    return aiortc.RTCConfiguration(
        # None would mean a server of its own choice.
        iceServers=[
            aiortc.RTCIceServer(urls=list(server.urls), username=server.username, credential=server.credential)
            for server in config.servers
        ],
        iceTransportPolicy=aiortc.RTCIceTransportPolicy.RELAY
        if config.relay_only
        else aiortc.RTCIceTransportPolicy.ALL,
    )


ENGINE: Final[Engine] = AiortcEngine()
