"""Sound and pictures of the engine `aiortc`, as numpy arrays and back. Imported when there is a call."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import aiortc
import av
import numpy as np
from aiortc.mediastreams import MediaStreamError

from crosspeer.peerjs.rtc.frames import MAX_PIXELS, AudioFrame, FrameQueue, VideoFrame
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from crosspeer.peerjs.rtc.frames import Feed, Frame, Kind

WAITING: Final[dict[Kind, int]] = {"video": 2, "audio": 10}
"""Frames that wait for who reads them: what `wrtc` keeps, about."""
_TICKS: Final = 90_000
"""A second of RTP's video clock."""


class Received:
    """A track of the other side. Its own queue has no bound, so it is emptied whether somebody reads it or not."""

    def __init__(self, native: aiortc.MediaStreamTrack) -> None:
        self._native = native
        self.kind: Kind = "video" if native.kind == "video" else "audio"
        self._queue: FrameQueue[av.VideoFrame | av.AudioFrame] = FrameQueue(WAITING[self.kind])
        self._tasks = Tasks()
        self._tasks.start(self._empty())

    async def frames(self) -> AsyncGenerator[Frame, None]:
        began: float | None = None
        while (native := await self._queue.get()) is not None:
            if isinstance(native, av.VideoFrame) and native.width * native.height > MAX_PIXELS:
                continue
            time = float(native.time or 0.0)
            began = time if began is None else began
            if isinstance(native, av.VideoFrame):
                yield VideoFrame(native.to_ndarray(format="rgb24").astype(np.uint8, copy=False), time - began)
            else:
                yield _sound(native, time - began)

    def stop(self) -> None:
        """The link is closed: one that never came about does not tell its tracks."""
        self._tasks.cancel()

    async def _empty(self) -> None:
        try:
            while True:
                self._queue.put(await self._native.recv())  # type: ignore[arg-type]
        except MediaStreamError:
            return
        finally:
            self._queue.end()


class Sent(aiortc.MediaStreamTrack):
    """A track of ours, of which the engine asks frames as soon as the link is open."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.kind = feed.kind
        self._frames = feed.frames()

    async def recv(self) -> av.VideoFrame | av.AudioFrame:
        async for frame in self._frames:
            return _native_picture(frame) if isinstance(frame, VideoFrame) else _native_sound(frame)
        self.stop()
        raise MediaStreamError

    async def close(self) -> None:
        """Give back the frames; the engine only stops asking."""
        self.stop()
        await self._frames.aclose()


def _native_picture(frame: VideoFrame) -> av.VideoFrame:
    native = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), "rgb24")
    native.pts, native.time_base = int(frame.time * _TICKS), Fraction(1, _TICKS)
    return native


def _native_sound(frame: AudioFrame) -> av.AudioFrame:
    layout = "mono" if frame.samples.shape[1] == 1 else "stereo"
    native = av.AudioFrame.from_ndarray(np.ascontiguousarray(frame.samples).reshape(1, -1), "s16", layout)
    native.sample_rate = frame.sample_rate
    native.pts, native.time_base = int(frame.time * frame.sample_rate), Fraction(1, frame.sample_rate)
    return native


def _sound(native: av.AudioFrame, at: float) -> AudioFrame:
    samples = native.to_ndarray().astype(np.int16, copy=False).reshape(-1, native.layout.nb_channels)
    return AudioFrame(samples, native.sample_rate, at)
