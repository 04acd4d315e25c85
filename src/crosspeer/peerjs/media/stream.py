"""MediaStream: sound and pictures that belong together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from crosspeer.peerjs.media import sources
from crosspeer.peerjs.media.clock import Clock
from crosspeer.peerjs.media.files import open_device, open_file
from crosspeer.peerjs.media.recording import Recording
from crosspeer.peerjs.media.thread import in_thread
from crosspeer.peerjs.media.track import Track
from crosspeer.peerjs.rtc.frames import SAMPLE_RATE, MediaError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable

    from crosspeer.peerjs.rtc.frames import AudioFrame, Kind, VideoFrame


class MediaStream:
    """What is sent in a call, and what comes: one track of pictures, one of sound, or both.

    A stream may be sent in many calls, recorded and read, all at once; each reader gets every frame. One that nobody
    reads stands still: a film begins when the first call is open. A reader that is too slow misses the oldest frames.
    """

    def __init__(self, tracks: Iterable[Track]) -> None:
        self.tracks = tuple(tracks)
        if not self.tracks:
            raise ValueError("a stream has a track")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, loop: bool = False) -> MediaStream:
        """A film, or sound: whatever FFmpeg can read.

        Args:
            loop: begin again at the end.

        Raises:
            MediaError: it cannot be read, or is no media.
        """
        clock = Clock()
        return cls(
            Track(kind, sources.paced(in_thread(iter(source)), clock), clock)
            for kind, source in open_file(path, loop=loop)
        )

    @classmethod
    def from_camera(cls, device: str | None = None, *, format: str | None = None) -> MediaStream:
        """The pictures of a camera, or of whatever else FFmpeg captures.

        Args:
            device: what FFmpeg calls it: `/dev/video1`, on Windows `video=Name`, the URL of a network camera. None:
                the first camera.
            format: FFmpeg's input format, such as `x11grab`, the screen; None: the system's for cameras.

        Raises:
            MediaError: there is no such camera.
        """
        return cls._captured("video", device, format)

    @classmethod
    def from_microphone(cls, device: str | None = None, *, format: str | None = None) -> MediaStream:
        """The sound of a microphone. The arguments are those of `from_camera`.

        Raises:
            MediaError: there is no such microphone.
        """
        return cls._captured("audio", device, format)

    @classmethod
    def from_frames(cls, frames: Iterable[Any] | AsyncIterable[Any], fps: float = 30.0) -> MediaStream:
        """Pictures that the program makes.

        Args:
            frames: numpy arrays of uint8, (height, width, 3), RGB. What is no async iterable is iterated in a thread.
            fps: pictures a second, at most.
        """
        if not fps > 0:
            raise ValueError(f"fps is a number above 0, not {fps!r}")
        clock = Clock()
        return cls([Track("video", sources.pictures(frames, fps, clock), clock)])

    @classmethod
    def from_samples(cls, samples: Iterable[Any] | AsyncIterable[Any], sample_rate: int = SAMPLE_RATE) -> MediaStream:
        """Sound that the program makes.

        Args:
            samples: numpy arrays of int16, (n,) or (n, channels), of any length.
        """
        clock = Clock()
        return cls([Track("audio", sources.sounds(samples, sample_rate, clock), clock)])

    @classmethod
    def silence(cls) -> MediaStream:
        """Sound with nothing to hear."""
        clock = Clock()
        return cls([Track("audio", sources.silence(clock), clock)])

    @classmethod
    def test_pattern(cls, width: int = 640, height: int = 480, fps: float = 30.0) -> MediaStream:
        """Colour bars, white to black, over a square that moves."""
        if not 0 < min(width, height) <= max(width, height) <= sources.MAX_SIDE:
            raise ValueError(f"a pattern has 1 to {sources.MAX_SIDE} pixels on each side, not {width} x {height}")
        return cls.from_frames(sources.pattern_images(width, height), fps)

    @classmethod
    def combine(cls, *streams: MediaStream) -> MediaStream:
        """The tracks of several streams as one: a camera with a microphone."""
        return cls(track for stream in streams for track in stream.tracks)

    @property
    def has_video(self) -> bool:
        return self._first("video") is not None

    @property
    def has_audio(self) -> bool:
        return self._first("audio") is not None

    @property
    def ended(self) -> bool:
        """Whether all its tracks have ended."""
        return all(track.ended for track in self.tracks)

    def video(self) -> AsyncGenerator[VideoFrame, None]:
        """The pictures from now on, as numpy arrays.

        Raises:
            MediaError: there are none; at the end: the source has failed.
        """
        return self._track("video").frames()

    def audio(self) -> AsyncGenerator[AudioFrame, None]:
        """The sound from now on, as numpy arrays.

        Raises:
            MediaError: there is none; at the end: the source has failed.
        """
        return self._track("audio").frames()

    def record(self, path: str | os.PathLike[str]) -> Recording:
        """Write it to a file from now on: `.mp4`, `.webm`, `.mkv`, `.wav`, whatever FFmpeg writes.

        Raises:
            MediaError: the file cannot be written, or its format has no place for this.
        """
        return Recording(self.tracks, path)

    def stop(self) -> None:
        """End all its tracks, for everybody who reads them."""
        for track in self.tracks:
            track.stop()

    async def wait_ended(self) -> None:
        """Wait until a film is over, or the other side has hung up."""
        await asyncio.gather(*(track.wait_ended() for track in self.tracks))

    def __repr__(self) -> str:
        return f"<MediaStream of {' and '.join(track.kind for track in self.tracks)}{', ended' if self.ended else ''}>"

    # Inside.

    @classmethod
    def _captured(cls, kind: Kind, device: str | None, format: str | None) -> MediaStream:
        source = open_device(kind, device, format)
        frames = in_thread(iter(source))
        if format != "lavfi":
            return cls([Track(kind, frames)])
        # FFmpeg makes these up, as fast as it can.
        clock = Clock()
        return cls([Track(kind, sources.paced(frames, clock), clock)])

    def _first(self, kind: Kind) -> Track | None:
        return next((track for track in self.tracks if track.kind == kind), None)

    def _track(self, kind: Kind) -> Track:
        if (track := self._first(kind)) is None:
            raise MediaError(f"this stream has no {kind}")
        return track
