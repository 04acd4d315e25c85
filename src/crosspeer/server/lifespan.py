"""The ASGI lifespan of the application behind the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from uvicorn.lifespan.on import LifespanOn

from crosspeer.runtime.tasks import LAST_GRACE, cancel_begun

if TYPE_CHECKING:
    import uvicorn


class Lifespan(LifespanOn):
    """uvicorn's, which can also be left in the middle: its task does not outlive the server."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._task: asyncio.Task[None] | None = None

    async def main(self) -> None:
        self._task = asyncio.current_task()
        await super().main()

    async def abort(self) -> None:
        """End it now, wherever the application is in it."""
        # It may have been started just now.
        await asyncio.sleep(0)
        if self._task is not None and not self._task.done():
            cancel_begun(self._task)
            await asyncio.wait([self._task], timeout=LAST_GRACE)
