"""How many control frames a peer may send: they cost it little, and each costs us a hook or an answer."""

from __future__ import annotations

from typing import Final

RATE: Final = 30
"""Pings and pongs a second, in the long run. A browser sends none of its own, a client library one every 20 s."""
BURST: Final = 60


class ControlBudget:
    """A token bucket; time comes in as an argument."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = 0.0

    def allows(self, now: float) -> bool:
        self._left = min(BURST, self._left + (now - self._at) * RATE) - 1
        self._at = now
        return self._left >= 0
