"""How much memory the process takes, as the system counts it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

FRESH: Final = 0.25
"""Seconds that a reading is good for: a storm of handshakes does not read it for each of them."""
_STATM: Final = Path("/proc/self/statm")


def resident() -> int:
    """Resident bytes of this process; 0 where the system does not tell (it is not Linux)."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class HighWater:
    """A bound on resident memory, None for no bound."""

    __slots__ = ("_excess", "_most", "_read_at")

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._excess = 0
        self._read_at = -FRESH

    def is_high(self) -> bool:
        return self._most is not None and self.excess() > 0

    def excess(self) -> int:
        """Bytes above the bound, below it a negative number. Read again when the last reading is old."""
        now = time.monotonic()
        if now - self._read_at >= FRESH:
            self._read_at = now
            self._excess = 0 if self._most is None else resident() - self._most
        return self._excess
