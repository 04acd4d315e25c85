"""Pictures and sound as they pass between engines, files and programs, and the queue in which they wait."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, TypeVar

from crosspeer.core.errors import CrosspeerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["audio", "video"]

SAMPLE_RATE: Final = 48_000
"""Of all sound here: what Opus runs at."""


MAX_PIXELS: Final = 8192 * 4608
"""Of a picture that is taken from another side: 8K, and then some. A small packet can claim four times as many."""


class MediaError(CrosspeerError):
    """Media that cannot be read or written; the text is meant for people."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One picture."""

    image: NDArray[np.uint8]
    """RGB, of the shape (height, width, 3)."""
    time: float
    """Seconds since the track began."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioFrame:
    """A short piece of sound, mostly 10 or 20 milliseconds."""

    samples: NDArray[np.int16]
    """Of the shape (samples, channels), with one channel or two."""
    sample_rate: int
    time: float
    """Seconds since the track began."""


Frame = VideoFrame | AudioFrame
F = TypeVar("F")


class Feed(Protocol):
    """Where the frames of one track come from."""

    @property
    def kind(self) -> Kind: ...

    def frames(self) -> AsyncGenerator[Frame, None]:
        """The frames, each when it is to be seen or heard. For one reader, who closes it when he has enough."""
        ...


class FrameQueue(Generic[F]):
    """Frames between who makes them and who reads them. When it is full the oldest goes: live media cannot wait."""

    def __init__(self, limit: int) -> None:
        self._frames: deque[F] = deque(maxlen=limit)
        self._news = asyncio.Event()
        self._ended = False

    def put(self, frame: F) -> None:
        self._frames.append(frame)
        self._news.set()

    def end(self) -> None:
        """Nothing more will come. What is there can still be read."""
        self._ended = True
        self._news.set()

    async def get(self) -> F | None:
        """The oldest frame; None at the end."""
        while not self._frames:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()
