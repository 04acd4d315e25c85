"""How much a peer may make us do: it costs it little, and each costs us a hook, an answer or memory."""

from __future__ import annotations

from typing import Final

RATE: Final = 30
"""Pings and pongs a second, in the long run. A browser sends none of its own, a client library one every 20 s."""
BURST: Final = 60
EXCESS_RATE: Final = 16 * 1024 * 1024
"""Inflated bytes beyond what honest data gives (`wire.deflate.FAIR_RATIO`): a second, and at once (row W2)."""
EXCESS_BURST: Final = 32 * 1024 * 1024


class Budget:
    """A token bucket; time comes in as an argument."""

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, rate: float, most: float) -> None:
        self._rate = rate
        self._most = most
        self._left = float(most)
        self._at = 0.0

    def allows(self, now: float, cost: float = 1) -> bool:
        self._left = min(self._most, self._left + (now - self._at) * self._rate) - cost
        self._at = now
        return self._left >= 0
