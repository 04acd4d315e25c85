"""The time of a stream, which runs while somebody reads it."""

from __future__ import annotations

import asyncio


class Clock:
    """Seconds since a stream began, shared by all its tracks, so that they stay together."""

    def __init__(self) -> None:
        self._users = 0
        self._elapsed = 0.0
        self._since = 0.0

    @property
    def now(self) -> float:
        running = asyncio.get_running_loop().time() - self._since if self._users else 0.0
        return self._elapsed + running

    def start(self) -> None:
        """One more needs it."""
        if not self._users:
            self._since = asyncio.get_running_loop().time()
        self._users += 1

    def stop(self) -> None:
        """One less does."""
        self._elapsed, self._since = self.now, asyncio.get_running_loop().time()
        self._users -= 1

    async def until(self, time: float) -> None:
        """Wait for this time. One that is over is not waited for."""
        if (rest := time - self.now) > 0:
            await asyncio.sleep(rest)
