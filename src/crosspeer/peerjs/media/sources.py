"""Frames that a program makes: pictures and samples of the user's, a test pattern, silence."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from crosspeer.peerjs.media.sound import Resampler
from crosspeer.peerjs.media.thread import in_thread
from crosspeer.peerjs.rtc.frames import SAMPLE_RATE, AudioFrame, VideoFrame

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator

    from numpy.typing import NDArray

    from crosspeer.peerjs.media.clock import Clock
    from crosspeer.peerjs.rtc.frames import Frame

MAX_SIDE: Final = 8192
"""Pixels of the longer side of a picture: what VP8 and H264 can encode is less than twice of it."""
BARS: Final = (
    (255, 255, 255),
    (255, 255, 0),
    (0, 255, 255),
    (0, 255, 0),
    (255, 0, 255),
    (255, 0, 0),
    (0, 0, 255),
    (0, 0, 0),
)
"""White, yellow, cyan, green, magenta, red, blue, black: the order of television's colour bars."""
PIECE: Final = SAMPLE_RATE // 50
"""Samples of a piece of sound: the 20 milliseconds of an Opus packet."""


async def paced(frames: AsyncGenerator[Frame, None], clock: Clock) -> AsyncGenerator[Frame, None]:
    """Frames at their time. Those that are late come at once, as far as their readers keep them."""
    async with aclosing(frames):
        async for frame in frames:
            await clock.until(frame.time)
            yield frame


async def pictures(
    images: Iterable[Any] | AsyncIterable[Any], fps: float, clock: Clock
) -> AsyncGenerator[VideoFrame, None]:
    """Images of the user's, at most so many a second."""
    due = 0.0
    async with aclosing(_each(images)) as each:
        async for image in each:
            # Who was late does not hurry afterwards.
            due = max(due, clock.now)
            await clock.until(due)
            yield VideoFrame(_checked_image(image), due)
            due += 1 / fps


async def sounds(
    pieces: Iterable[Any] | AsyncIterable[Any], sample_rate: int, clock: Clock
) -> AsyncGenerator[AudioFrame, None]:
    """Samples of the user's, in pieces of any length, as ours."""
    due = 0.0
    async with aclosing(_resampled(pieces, sample_rate)) as each:
        async for samples in each:
            due = max(due, clock.now)
            await clock.until(due)
            yield AudioFrame(samples, SAMPLE_RATE, due)
            due += len(samples) / SAMPLE_RATE


async def silence(clock: Clock) -> AsyncGenerator[AudioFrame, None]:
    """Nothing to hear."""
    samples = np.zeros((PIECE, 1), np.int16)
    count = 0
    while True:
        due = count * PIECE / SAMPLE_RATE
        await clock.until(due)
        yield AudioFrame(samples, SAMPLE_RATE, due)
        count += 1


def pattern_images(width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Colour bars, and below them a white square that moves from left to right over black."""
    bars = np.array(BARS, np.uint8)[np.arange(width) * len(BARS) // width]
    base = np.broadcast_to(bars, (height, width, 3)).copy()
    top = height * 3 // 4
    base[top:] = 0
    side = max(1, min(height - top, width // 8))
    step = max(1, width // 60)
    left = 0
    while True:
        image = base.copy()
        image[top:, left : left + side] = 255
        yield image
        left = (left + step) % max(1, width - side)


async def _each(values: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    if isinstance(values, AsyncIterable):
        iterator: AsyncIterator[Any] = aiter(values)
        try:
            async for value in iterator:
                yield value
        finally:
            if (close := getattr(iterator, "aclose", None)) is not None:
                await close()
        return
    async with aclosing(in_thread(iter(values))) as made:
        async for value in made:
            yield value


async def _resampled(
    pieces: Iterable[Any] | AsyncIterable[Any], sample_rate: int
) -> AsyncGenerator[NDArray[np.int16], None]:
    resampler: Resampler | None = None
    async with aclosing(_each(pieces)) as each:
        async for piece in each:
            samples = _checked_samples(piece)
            resampler = resampler or Resampler(sample_rate, samples.shape[1], PIECE)
            for ready in resampler.push(samples):
                yield ready
    for rest in resampler.push_frame(None) if resampler is not None else ():
        yield rest


def _checked_image(value: Any) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = np.asarray(value)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise TypeError(f"an image is uint8 of the shape (height, width, 3), not {image.dtype} of {image.shape}")
    if not 0 < min(image.shape[:2]) <= max(image.shape[:2]) <= MAX_SIDE:
        raise ValueError(f"an image has 1 to {MAX_SIDE} pixels on each side, not {image.shape[1]} x {image.shape[0]}")
    return image


def _checked_samples(piece: Any) -> NDArray[np.int16]:
    samples = np.asarray(piece)
    if samples.ndim == 1:
        samples = samples[:, np.newaxis]
    if samples.dtype != np.int16 or samples.ndim != 2 or samples.shape[1] not in (1, 2):
        raise TypeError(
            f"samples are int16 of the shape (n,), (n, 1) or (n, 2), not {samples.dtype} of {samples.shape}"
        )
    return samples
