"""Recording: a stream on its way into a file."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.media.writer import Writer
from crosspeer.peerjs.rtc.frames import MediaError
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import TracebackType

    from crosspeer.peerjs.media.track import Track
    from crosspeer.peerjs.rtc.frames import Frame, FrameQueue, Kind

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
        self._done = asyncio.Event()
        self._error: MediaError | None = None
        # A file has one of each kind: the first.
        first = {track.kind: track for track in reversed(tracks)}
        self._joined = [(first[kind], first[kind].join(WAITING[kind])) for kind in self._writer.kinds]
        _tasks.start(self._run())

    async def stop(self) -> None:
        """Finish the file. It is complete when this returns, with all that came before.

        Raises:
            MediaError: it could not be written, or one of the tracks has failed.
        """
        self._leave()
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

    def _leave(self) -> None:
        for track, queue in self._joined:
            track.leave(queue)

    async def _run(self) -> None:
        try:
            await asyncio.gather(*(self._copy(track, queue) for track, queue in self._joined))
        finally:
            self._leave()
            await self._close()

    async def _copy(self, track: Track, queue: FrameQueue[Frame]) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (frame := await queue.get()) is not None:
                at = loop.time() - self._began
                await loop.run_in_executor(self._executor, self._writer.write, frame, at)
            track.check()
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
