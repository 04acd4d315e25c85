"""The folder that files go to. Everything here may block; nothing leads out of the folder, also over links in it."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.transfer.errors import Refused
from crosspeer.peerjs.transfer.names import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

_FLAGS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_MAX_COPIES: Final = 1000


class Store:
    """The files below one folder.

    Args:
        folder: it has to be there.
        overwrite: a file that comes takes the place of one of its name. Otherwise it gets a new name.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self.folder = folder.resolve(strict=True)
        self._overwrite = overwrite

    def place(self, parts: tuple[str, ...]) -> Path:
        """Where a file of this name belongs. Its folders are made.

        Raises:
            Refused: a link or a file is in the way.
            OSError: a folder cannot be made.
        """
        folder = self.folder
        for part in parts[:-1]:
            folder = folder / part
            with suppress(FileExistsError):
                folder.mkdir()
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise Refused(f"{'/'.join(parts)} is not taken: {part} is no folder there")
        return folder / parts[-1]

    def twin(self, path: Path, size: int) -> FileIO | None:
        """The file of this name and size, if it is there already: it may be the same."""
        try:
            file = _open(path, os.O_RDONLY)
        except OSError:
            return None
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_size == size > 0:
            return file
        file.close()
        return None

    def partial(self, path: Path) -> Partial:
        """What has come of a file so far, perhaps nothing.

        Raises:
            Refused: another program is at it.
            OSError: it cannot be opened.
        """
        place = path.with_name(path.name + SUFFIX)
        file = _open(place, os.O_RDWR | os.O_CREAT)
        try:
            _lock(file, path.name)
            return Partial(file, place)
        except BaseException:
            file.close()
            raise

    def has_room(self, size: int) -> bool:
        """Whether the disk has. It may be wrong by the time that it matters."""
        try:
            found = os.statvfs(self.folder)
        except (AttributeError, OSError):
            return True
        return found.f_bavail * found.f_frsize >= size

    def keep(self, partial: Partial, path: Path) -> Path:
        """Give a complete file its name; the partial one is closed.

        Returns:
            its path: a new one, if there is a file of its name that is not to be overwritten.

        Raises:
            OSError: it cannot be.
        """
        os.fsync(partial.file.fileno())
        partial.file.close()
        if self._overwrite:
            os.replace(partial.path, path)
            return path
        target = _reserved(path)
        try:
            os.replace(partial.path, target)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        return target


class Partial:
    """A file that has not come completely, open for reading and writing, and locked."""

    def __init__(self, file: FileIO, path: Path) -> None:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise Refused(f"{path.name} is in the way: it is no ordinary file")
        self.file = file
        self.path = path
        self.size = found.st_size

    def cut(self, size: int) -> None:
        """Keep so many bytes; what is written next comes behind them."""
        self.file.truncate(size)
        self.file.seek(size)

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self.file.write(left) :]

    def remove(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Close it for another time, if there is anything in it."""
        if self.file.closed:
            return
        if os.fstat(self.file.fileno()).st_size:
            self.file.close()
        else:
            self.remove()


def _open(path: Path, flags: int) -> FileIO:
    # A pipe that nobody writes would hold us up, if it were not for this.
    flags |= _FLAGS | getattr(os, "O_NONBLOCK", 0)
    mode = "r+b" if flags & os.O_RDWR else "rb"
    return FileIO(os.open(path, flags, 0o666), mode)


def _lock(file: FileIO, name: str) -> None:
    # Windows has no such lock: there two programs should not share a folder.
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"{name} is being received by another program") from None


def _reserved(path: Path) -> Path:
    """A path that was free and is ours now: this one, or one with a number. An empty file holds it."""
    for copy in range(_MAX_COPIES):
        tried = path.with_name(f"{path.stem} ({copy}){path.suffix}") if copy else path
        with suppress(FileExistsError):
            os.close(os.open(tried, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return tried
    raise FileExistsError(f"{path.name} is there in {_MAX_COPIES} copies")
