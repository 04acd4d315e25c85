"""Sound and pictures for tests, and what to recognise them by after an encoder had them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import numpy as np

from crosspeer.peerjs import AudioFrame, VideoFrame
from crosspeer.peerjs.media.sources import BARS, pattern_images
from crosspeer.peerjs.media.writer import Writer
from peers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from crosspeer.peerjs import MediaStream

TOLERANCE = 40
"""How far a colour may be off, of 255: encoders at the start of a call spend few bits."""


def tone(frequency: float = 440.0, rate: int = 48_000, channels: int = 1) -> Iterator[NDArray[np.int16]]:
    """A sine, for ever, in pieces that are no multiple of what anything wants."""
    position, size = 0, 777
    while True:
        wave = np.sin(2 * np.pi * frequency * np.arange(position, position + size) / rate) * 12_000
        yield np.repeat(wave.astype(np.int16)[:, np.newaxis], channels, axis=1)
        position += size


def pitch(samples: NDArray[np.int16], rate: int = 48_000) -> float:
    """The loudest frequency; 0 of what is all but silent."""
    mono = samples.reshape(len(samples), -1)[:, 0].astype(float)
    if np.abs(mono).max() < 1000:
        return 0.0
    return float(np.abs(np.fft.rfft(mono * np.hanning(len(mono)))).argmax() * rate / len(mono))


def bars(image: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The colours of the eight bars, each in its middle."""
    height, width, _ = image.shape
    middles = [(2 * n + 1) * width // (2 * len(BARS)) for n in range(len(BARS))]
    return [tuple(int(value) for value in image[height // 3, middle]) for middle in middles]


def is_near(colour: Any, wanted: Any) -> bool:
    return all(abs(int(a) - int(b)) <= TOLERANCE for a, b in zip(colour, wanted, strict=True))


def is_pattern(image: NDArray[np.uint8]) -> bool:
    """Whether this is the test pattern."""
    return all(map(is_near, bars(image), BARS))


def has_colour(*wanted: int) -> Callable[[NDArray[np.uint8]], bool]:
    """Whether the middle of a picture has a colour."""

    def check(image: NDArray[np.uint8]) -> bool:
        return is_near(image[image.shape[0] // 2, image.shape[1] // 2], wanted)

    return check


async def sees(stream: MediaStream, is_right: Callable[[NDArray[np.uint8]], bool] = is_pattern) -> NDArray[np.uint8]:
    """Wait for a picture that is right: the first ones may be black, or poor."""
    last: Any = None
    try:
        async with asyncio.timeout(DEADLINE), aclosing(stream.video()) as frames:
            async for frame in frames:
                last = frame.image
                if is_right(last):
                    return last
    except TimeoutError:
        pass
    raise AssertionError(f"no such picture came; the last one: {None if last is None else bars(last)}")


async def hears(stream: MediaStream, frequency: float = 440.0) -> None:
    """Wait for half a second of a tone."""
    heard: list[NDArray[np.int16]] = []
    found = 0.0
    try:
        async with asyncio.timeout(DEADLINE), aclosing(stream.audio()) as frames:
            async for frame in frames:
                assert frame.sample_rate == 48_000
                heard.append(frame.samples)
                if sum(map(len, heard)) >= 24_000:
                    found = pitch(np.concatenate(heard))
                    if abs(found - frequency) < 10:
                        return
                    heard.clear()
    except TimeoutError:
        pass
    raise AssertionError(f"no tone of {frequency} Hz came; the last one had {found}")


async def take(frames: AsyncGenerator[Any, None], count: int) -> list[Any]:
    """So many frames, or as many as there are."""
    taken: list[Any] = []
    async with asyncio.timeout(DEADLINE), aclosing(frames):
        async for frame in frames:
            taken.append(frame)
            if len(taken) == count:
                break
    return taken


async def film(path: Path, seconds: float = 1.0, *, size: tuple[int, int] = (160, 120), sound: bool = True) -> Path:
    """A file with the test pattern and a tone."""

    def write() -> None:
        writer = Writer(str(path), ["video", "audio"] if sound else ["video"])
        images, pieces = pattern_images(*size), tone()
        heard = 0.0
        for number in range(int(seconds * 15)):
            at = number / 15
            writer.write(VideoFrame(next(images), at), at)
            while sound and heard <= at:
                samples = next(pieces)
                writer.write(AudioFrame(samples, 48_000, heard), heard)
                heard += len(samples) / 48_000
        writer.close()

    await asyncio.to_thread(write)
    return path
