"""Sound and pictures of the engine `wrtc`, as numpy arrays and back. Imported when there is a call."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import webrtc

from crosspeer.peerjs.rtc.frames import MAX_PIXELS, AudioFrame, VideoFrame

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from crosspeer.peerjs.rtc.frames import Feed, Frame, Kind
    from crosspeer.runtime.tasks import Tasks

_RGBX: Final = webrtc.VideoFrameCopyToOptions(format=webrtc.VideoPixelFormat.RGBX)
_SAMPLES: Final = webrtc.AudioDataCopyToOptions(plane_index=0, format=webrtc.AudioSampleFormat.s16)
_MICROSECONDS: Final = 1_000_000


class Received:
    """A track of the other side. The engine keeps a picture and a tenth of a second of sound for who reads it."""

    def __init__(self, native: webrtc.MediaStreamTrack) -> None:
        self._native = native
        self.kind: Kind = "video" if native.kind == webrtc.MediaType.video else "audio"

    async def frames(self) -> AsyncGenerator[Frame, None]:
        processor = webrtc.MediaStreamTrackProcessor(webrtc.MediaStreamTrackProcessorInit(self._native))
        reader = processor.readable.get_reader()
        began: int | None = None
        try:
            while not (result := await reader.read()).done:
                with result.value as native:  # type: ignore[union-attr]
                    if isinstance(native, webrtc.VideoFrame) and native.coded_width * native.coded_height > MAX_PIXELS:
                        continue
                    began = native.timestamp if began is None else began
                    at = (native.timestamp - began) / _MICROSECONDS
                    yield _picture(native, at) if isinstance(native, webrtc.VideoFrame) else _sound(native, at)
        finally:
            await reader.cancel()


class Sent:
    """A track of ours."""

    def __init__(self, feed: Feed, tasks: Tasks) -> None:
        self._feed = feed
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self.native: Final = webrtc.MediaStreamTrackGenerator(feed.kind)

    def start(self) -> None:
        """Send from now on. Before the link is open frames would only be lost."""
        if self._task is None:
            self._task = self._tasks.start(self._run())

    async def _run(self) -> None:
        writer = self.native.writable.get_writer()
        write = self._write_picture if self._feed.kind == "video" else self._write_sound
        try:
            async with aclosing(self._feed.frames()) as frames:
                async for frame in frames:
                    await writer.write(write(frame))
        finally:
            with suppress(webrtc.RTCException, TypeError):
                await writer.close()

    def _write_picture(self, frame: Any) -> webrtc.VideoFrame:
        height, width, _ = frame.image.shape
        pixels = np.empty((height, width, 4), np.uint8)
        pixels[:, :, :3] = frame.image
        return webrtc.VideoFrame(
            pixels.data.cast("B"),
            webrtc.VideoFrameBufferInit(
                format=webrtc.VideoPixelFormat.RGBX,
                coded_width=width,
                coded_height=height,
                timestamp=int(frame.time * _MICROSECONDS),
            ),
        )

    def _write_sound(self, frame: Any) -> webrtc.AudioData:
        return webrtc.AudioData(
            webrtc.AudioDataInit(
                format=webrtc.AudioSampleFormat.s16,
                sample_rate=frame.sample_rate,
                number_of_frames=frame.samples.shape[0],
                number_of_channels=frame.samples.shape[1],
                timestamp=int(frame.time * _MICROSECONDS),
                data=np.ascontiguousarray(frame.samples).data.cast("B"),
            )
        )


def _picture(native: webrtc.VideoFrame, at: float) -> VideoFrame:
    pixels = np.empty((native.coded_height, native.coded_width, 4), np.uint8)
    # Done when it returns, whatever it returns.
    native.copy_to(pixels.data.cast("B"), _RGBX).result()
    # Telephones film as they are held, and say so: clockwise, while numpy turns the other way.
    return VideoFrame(np.ascontiguousarray(np.rot90(pixels[:, :, :3], -native.rotation // 90)), at)


def _sound(native: webrtc.AudioData, at: float) -> AudioFrame:
    samples = np.empty((native.number_of_frames, native.number_of_channels), np.int16)
    native.copy_to(samples.data.cast("B"), _SAMPLES)
    return AudioFrame(samples, int(native.sample_rate), at)
