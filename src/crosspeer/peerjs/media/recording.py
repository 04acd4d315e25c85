"""Recording: a stream on its way into a file."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.media.writer import Writer
from crosspeer.peerjs.rtc.frames import MediaError
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import TracebackType

    from crosspeer.peerjs.media.track import Track
    from crosspeer.peerjs.rtc.frames import Kind

WAITING: Final[dict[Kind, int]] = {"video": 10, "audio": 500}
"""Frames that wait for the encoder: a third of a second of pictures, and some seconds of sound, which takes no room."""

_tasks: Final = Tasks()


class Recording:
    """A file that is being written, from now on.

    Await it to write until the stream ends, or `stop` it, or leave its `async with`.

    Raises:
        MediaError: the file cannot be written, or its format has no place for the tracks.
    """

    def __init__(self, tracks: Sequence[Track], path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._writer = Writer(self.path, [track.kind for track in tracks])
        # PyAV's objects want to be used by one thread, and encoding takes its time.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="crosspeer-recording")
        self._began = asyncio.get_running_loop().time()
        self._stopping = asyncio.Event()
        self._done = asyncio.Event()
        self._error: MediaError | None = None
        _tasks.start(self._run([track for track in tracks if track.kind in self._writer.kinds]))

    async def stop(self) -> None:
        """Finish the file. It is complete when this returns.

        Raises:
            MediaError: it could not be written, or one of the tracks has failed.
        """
        self._stopping.set()
        await self._finished()

    def __await__(self) -> Generator[None, None, None]:
        """Wait until the stream has ended, and the file is complete.

        Raises:
            MediaError: it could not be written, or one of the tracks has failed.
        """
        return self._finished().__await__()

    async def __aenter__(self) -> Recording:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # Inside.

    async def _finished(self) -> None:
        await self._done.wait()
        if self._error is not None:
            raise self._error

    async def _run(self, tracks: list[Track]) -> None:
        copies = [asyncio.ensure_future(self._copy(track)) for track in tracks]
        everything = asyncio.ensure_future(asyncio.wait(copies))
        everything.add_done_callback(lambda _: self._stopping.set())
        try:
            await self._stopping.wait()
        finally:
            for task in (everything, *copies):
                task.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            await self._close()

    async def _copy(self, track: Track) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with aclosing(track.frames(WAITING[track.kind])) as frames:
                async for frame in frames:
                    at = loop.time() - self._began
                    await loop.run_in_executor(self._executor, self._writer.write, frame, at)
        except MediaError as error:
            self._error = self._error or error

    async def _close(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._writer.close)
        except MediaError as error:
            self._error = self._error or error
        finally:
            self._executor.shutdown(wait=False)
            self._done.set()
