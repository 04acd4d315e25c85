"""Which connection receives which file: one at a time, and the later one where the earlier has fallen silent."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.transfer.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from crosspeer.peerjs.transfer.talk import Talk

SILENCE: Final = 3.0
"""Seconds after which a connection gives way to another one for the same file: the network notices a cut much later,
and whoever was cut off is back in a second."""
_PATIENCE: Final = 2 * SILENCE


class Claims:
    """The files that are being received."""

    def __init__(self) -> None:
        self._held: dict[Path, _Claim] = {}

    @asynccontextmanager
    async def hold(self, path: Path, talk: Talk) -> AsyncIterator[None]:
        """Have a file to oneself.

        Raises:
            Refused: another connection has it, and is at work.
        """
        claim = _Claim(talk)
        await self._wait_for(path)
        self._held[path] = claim
        try:
            yield
        finally:
            del self._held[path]
            claim.released.set()

    async def _wait_for(self, path: Path) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + _PATIENCE
        while (other := self._held.get(path)) is not None:
            silent_at = other.talk.heard_at + SILENCE
            if silent_at <= clock():
                other.talk.connection.close()
                await other.released.wait()
            elif clock() >= deadline:
                raise Refused(f"{path.name} is being received from another peer")
            else:
                try:
                    async with asyncio.timeout_at(min(silent_at, deadline)):
                        await other.released.wait()
                except TimeoutError:
                    continue


class _Claim:
    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.released = asyncio.Event()
