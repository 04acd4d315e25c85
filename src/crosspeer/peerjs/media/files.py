"""Media files and capture devices, by PyAV: pictures and sound of whatever FFmpeg reads."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

import av
import numpy as np

from crosspeer.peerjs.media.sound import Resampler
from crosspeer.peerjs.media.sources import PIECE
from crosspeer.peerjs.rtc.frames import SAMPLE_RATE, AudioFrame, MediaError, VideoFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer

    from crosspeer.peerjs.rtc.frames import Frame, Kind

ONLY_FILES: Final = {"protocol_whitelist": "file"}
"""A playlist is a file too, and names others: none of them is fetched from a network."""
PATIENCE: Final = 10.0
"""Seconds until a device, or a network camera, has to open and to deliver."""
CAMERAS: Final = {"linux": ("v4l2", "/dev/video0"), "darwin": ("avfoundation", "0:none"), "win32": ("dshow", None)}
"""FFmpeg's format, and the device that is meant where none is named."""
MICROPHONES: Final = {"linux": ("alsa", "default"), "darwin": ("avfoundation", "none:0"), "win32": ("dshow", None)}
MAX_BROKEN: Final = 100
"""Packets in a row that cannot be decoded, after which a file counts as broken."""

_AGAIN: Final = 0.01
"""Seconds after which a device that has nothing yet is asked again."""


class Source:
    """One sound or picture track of something that FFmpeg opens, for a thread to iterate over.

    Args:
        loop: begin again at the end.
        live: frames have the time at which they come.

    Raises:
        MediaError: it cannot be opened, or has no such track.
    """

    def __init__(
        self, name: str, kind: Kind, container: InputContainer, *, loop: bool = False, live: bool = False
    ) -> None:
        self._name = name
        self._kind = kind
        self._container = container
        self._loop = loop
        self._live = live
        # None where there is none, whatever its type says.
        self._origin = (container.start_time or 0) / av.time_base

    def __iter__(self) -> Iterator[Frame]:
        return self._iterate()

    def _iterate(self) -> Iterator[Frame]:
        base = 0.0
        with self._container:
            while True:
                last = None
                for frame in self._pictures() if self._kind == "video" else self._sounds():
                    last = frame
                    yield frame if not base else _later(frame, base)
                if last is None:
                    raise MediaError(f"{self._name} has no {self._kind} that can be decoded")
                if not self._loop:
                    return
                base += max(self._duration(), last.time)
                self._container.seek(self._container.start_time or 0)

    def _pictures(self) -> Iterator[VideoFrame]:
        began: float | None = None
        for frame in self._decoded():
            assert isinstance(frame, av.VideoFrame)
            at = _time(frame, self._origin)
            if self._live:
                began = at if began is None else began
                at -= began
            image = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            if frame.rotation:
                # Telephones film as they are held, and say so.
                image = np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
            yield VideoFrame(image, at)

    def _sounds(self) -> Iterator[AudioFrame]:
        stream = self._container.streams.audio[0]
        resampler = Resampler(stream.codec_context.sample_rate, 1 if stream.codec_context.channels == 1 else 2, PIECE)
        at: float | None = None
        for frame in self._decoded(flush=True):
            if at is None and frame is not None:
                at = 0.0 if self._live else _time(frame, self._origin)
            for samples in resampler.push_frame(frame):  # type: ignore[arg-type]
                yield AudioFrame(samples, SAMPLE_RATE, at or 0.0)
                at = (at or 0.0) + len(samples) / SAMPLE_RATE

    def _decoded(self, *, flush: bool = False) -> Iterator[av.VideoFrame | av.AudioFrame | None]:
        stream = self._container.streams.video[0] if self._kind == "video" else self._container.streams.audio[0]
        packets = self._container.demux(stream)
        broken = idle = 0
        while True:
            try:
                for frame in next(packets).decode():
                    broken = idle = 0
                    yield frame  # type: ignore[misc]
            except StopIteration:
                break
            except av.BlockingIOError as error:
                idle += 1
                if idle * _AGAIN > PATIENCE:
                    raise MediaError(f"{self._name} delivers nothing") from error
                time.sleep(_AGAIN)
            except av.InvalidDataError as error:
                broken += 1
                if broken > MAX_BROKEN:
                    raise MediaError(f"{self._name} is broken: {error}") from error
            except av.FFmpegError as error:
                raise MediaError(f"{self._name} can be read no further: {error}") from error
        if flush:
            yield None

    def _duration(self) -> float:
        return 0.0 if self._container.duration is None else self._container.duration / av.time_base


def open_file(path: str | os.PathLike[str], *, loop: bool) -> list[tuple[Kind, Source]]:
    """The tracks of a media file. Each has the file open for itself, so that none has to wait for another.

    Raises:
        MediaError: it cannot be read, or holds no sound and no pictures.
    """
    name = os.fspath(path)
    first = _open(name, options=ONLY_FILES)
    kinds = _kinds(first)
    if not kinds:
        first.close()
        raise MediaError(f"{name} holds no audio and no video")
    others = [_open(name, options=ONLY_FILES) for _ in kinds[1:]]
    return [
        (kind, Source(name, kind, container, loop=loop))
        for kind, container in zip(kinds, [first, *others], strict=True)
    ]


def open_device(kind: Kind, device: str | None, format: str | None) -> Source:
    """A camera or a microphone.

    Raises:
        MediaError: there is none, or it cannot be opened.
    """
    word = "camera" if kind == "video" else "microphone"
    usual, default = (CAMERAS if kind == "video" else MICROPHONES).get(sys.platform, (None, None))
    if device is None and format is None:
        device = default
    if device is None:
        raise MediaError(f"name the {word}: there is no usual one on {sys.platform}")
    if format is None and "://" not in device:
        format = usual
    try:
        container = _open(device, format=format, timeout=PATIENCE)
    except MediaError as error:
        raise MediaError(f"no {word}: {error}") from error
    if kind not in _kinds(container):
        container.close()
        raise MediaError(f"{device} is no {word}: it has no {kind}")
    return Source(device, kind, container, live=True)


def _open(
    name: str, *, format: str | None = None, options: dict[str, str] | None = None, timeout: float | None = None
) -> InputContainer:
    try:
        return av.open(name, "r", format=format, options=options or {}, timeout=timeout)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{name} cannot be opened as media: {reason}") from error


def _kinds(container: InputContainer) -> list[Kind]:
    kinds: list[Kind] = []
    if container.streams.video:
        kinds.append("video")
    if container.streams.audio:
        kinds.append("audio")
    return kinds


def _time(frame: av.VideoFrame | av.AudioFrame, origin: float) -> float:
    return 0.0 if frame.time is None else max(0.0, float(frame.time) - origin)


def _later(frame: Frame, base: float) -> Frame:
    if isinstance(frame, VideoFrame):
        return VideoFrame(frame.image, base + frame.time)
    return AudioFrame(frame.samples, frame.sample_rate, base + frame.time)
