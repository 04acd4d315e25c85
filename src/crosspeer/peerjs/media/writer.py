"""Frames into a media file, by PyAV. All of it blocks, and belongs into one thread."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np

from crosspeer.peerjs.rtc.frames import SAMPLE_RATE, AudioFrame, Kind, MediaError, VideoFrame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from crosspeer.peerjs.rtc.frames import Frame

CODECS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "h264": ("libx264", {"preset": "veryfast", "tune": "zerolatency"}),
    "vp9": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
}
"""Encoders that keep up with what comes, by the codec that a format has by default."""
SOUND_CODECS: Final = {"opus": "libopus", "vorbis": "libopus"}
NOT_FILMED: Final = frozenset({"none", "png", "gif"})
"""What the formats of sound have for pictures: nothing, or a cover."""
BIT_RATE: Final = 4_000_000
"""Of pictures, a second: what is good enough for 1080p."""
CHANNELS: Final = 2
DRIFT: Final = 0.5
"""Seconds between a frame's own time and the time at which it came, after which its own is not believed any more."""
GAP: Final = 0.1
"""Seconds without sound after which silence is put in its place; less is only jitter."""
PATIENCE: Final = 10.0
"""Seconds that sound waits for the first picture, whose size is in the head of the file."""

_TICKS: Final = 1000
"""A second of pictures."""


class Writer:
    """A file that is being written.

    Args:
        kinds: of the tracks that there are.

    Raises:
        MediaError: the file cannot be written, or its format has no place for these tracks.
    """

    def __init__(self, path: str, kinds: Sequence[Kind]) -> None:
        self._path = path
        try:
            self._container = av.open(path, "w")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f"{path} cannot be written: {_reason(error)}") from error
        self._codecs = {"video": self._container.default_video_codec, "audio": self._container.default_audio_codec}
        self.kinds: list[Kind] = [kind for kind in dict.fromkeys(kinds) if self._codecs[kind] not in NOT_FILMED]
        if not self.kinds:
            self._container.close()
            raise MediaError(f"{path} cannot be written: such a file does not hold {' and '.join(kinds)}")
        try:
            # FFmpeg opens it only when the first frame is there.
            Path(path).open("wb").close()
        except OSError as error:
            raise MediaError(f"{path} cannot be written: {_reason(error)}") from error
        self._video: Any = None
        self._audio: Any = None
        self._begun = False
        self._early: list[tuple[AudioFrame, float]] = []
        self._pictures = _Places()
        self._sounds = _Places()
        self._last_tick = -1
        self._samples = 0

    def write(self, frame: Frame, at: float) -> None:
        """Write a frame that came at this time, in seconds since the beginning.

        Raises:
            MediaError: the disk is full, or an encoder fails.
        """
        try:
            if isinstance(frame, VideoFrame):
                self._begin(frame)
                if self._video is not None:
                    self._write_video(frame, at)
            else:
                self._early.append((frame, at))
                if "video" not in self.kinds or at - self._early[0][1] > PATIENCE:
                    self._begin(None)
            if self._begun:
                for early in self._early:
                    self._write_audio(*early)
                self._early.clear()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f"{self._path} can be written no further: {_reason(error)}") from error

    def close(self) -> None:
        """Finish the file.

        Raises:
            MediaError: it cannot be finished.
        """
        try:
            if self._early:
                self._begin(None)
                for early in self._early:
                    self._write_audio(*early)
            for stream in (self._video, self._audio):
                if stream is not None:
                    self._container.mux(stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f"{self._path} cannot be finished: {_reason(error)}") from error

    # Inside.

    def _begin(self, first: VideoFrame | None) -> None:
        if self._begun:
            return
        self._begun = True
        if first is not None:
            name, options = CODECS.get(self._codecs["video"], (self._codecs["video"], {}))
            height, width, _ = first.image.shape
            self._video = stream = self._container.add_stream(name, rate=30, options=options)
            assert isinstance(stream, av.VideoStream)
            # Both encoders want even sizes.
            stream.width, stream.height = max(2, width & ~1), max(2, height & ~1)
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = BIT_RATE
            stream.codec_context.time_base = Fraction(1, _TICKS)
        if "audio" in self.kinds:
            name = SOUND_CODECS.get(self._codecs["audio"], self._codecs["audio"])
            self._audio = self._container.add_stream(name, rate=SAMPLE_RATE, layout="stereo")

    def _write_video(self, frame: VideoFrame, at: float) -> None:
        # Networks and other sides change the size in the middle; a file does not.
        picture = av.VideoFrame.from_ndarray(frame.image, "rgb24").reformat(
            width=self._video.width, height=self._video.height, format="yuv420p"
        )
        tick = max(self._last_tick + 1, int(self._pictures.of(frame, at) * _TICKS))
        self._last_tick = tick
        picture.pts, picture.time_base = tick, Fraction(1, _TICKS)
        self._container.mux(self._video.encode(picture))

    def _write_audio(self, frame: AudioFrame, at: float) -> None:
        if self._audio is None or frame.sample_rate != SAMPLE_RATE:
            return
        missing = int(self._sounds.of(frame, at) * SAMPLE_RATE) - self._samples
        if missing > GAP * SAMPLE_RATE:
            for silent in _silence(missing):
                self._put(silent)
        self._put(_stereo(frame.samples))

    def _put(self, samples: NDArray[np.int16]) -> None:
        sound = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "stereo")
        sound.sample_rate, sound.time_base, sound.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), self._samples
        self._samples += len(samples)
        self._container.mux(self._audio.encode(sound))


class _Places:
    """Where the frames of a track belong: as far apart as they say, and near to when they came."""

    def __init__(self) -> None:
        self._base: float | None = None

    def of(self, frame: Frame, at: float) -> float:
        if self._base is None or abs(self._base + frame.time - at) > DRIFT:
            self._base = at - frame.time
        return self._base + frame.time


def _silence(count: int) -> Iterator[NDArray[np.int16]]:
    """In pieces: a track may have been still for hours."""
    while count > 0:
        yield np.zeros((min(count, SAMPLE_RATE), CHANNELS), np.int16)
        count -= SAMPLE_RATE


def _stereo(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    if samples.shape[1] != CHANNELS:
        samples = np.repeat(samples[:, :1], CHANNELS, axis=1)
    return np.ascontiguousarray(samples)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
