"""Samples of any rate as pieces of ours, by PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from crosspeer.peerjs.rtc.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Resampler:
    """Turns samples of one rate into int16 pieces of one length at `SAMPLE_RATE`.

    Args:
        sample_rate: of what comes; None: frames know it.
        channels: 1 or 2; frames with more are mixed down to two.
        piece: samples of each piece that comes out.
    """

    def __init__(self, sample_rate: int, channels: int, piece: int) -> None:
        if not 1000 <= sample_rate <= 768_000:
            raise ValueError(f"a sample rate is 1000 to 768000, not {sample_rate}")
        self._rate = sample_rate
        self._channels = channels
        self._layout = "mono" if channels == 1 else "stereo"
        self._resampler = av.AudioResampler(format="s16", layout=self._layout, rate=SAMPLE_RATE, frame_size=piece)
        self._count = 0

    def push(self, samples: NDArray[np.int16]) -> Iterator[NDArray[np.int16]]:
        """Samples of the shape (n, channels)."""
        if samples.shape[1] != self._channels:
            raise ValueError(f"the samples had {self._channels} channels before, and have {samples.shape[1]} now")
        if len(samples):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "s16", self._layout)
            frame.sample_rate = self._rate
            frame.time_base = Fraction(1, self._rate)
            frame.pts = self._count
            self._count += len(samples)
            yield from self.push_frame(frame)

    def push_frame(self, frame: av.AudioFrame | None) -> Iterator[NDArray[np.int16]]:
        """A frame of PyAV's; None at the end, for what is left."""
        for ready in self._resampler.resample(frame):
            yield ready.to_ndarray().astype(np.int16, copy=False).reshape(-1, self._channels)
