"""The files that somebody wants to send."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from crosspeer.peerjs.transfer.errors import Refused
from crosspeer.peerjs.transfer.names import BadName, safe_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Source:
    """One file, and the name it is offered under, with slashes between folders."""

    path: Path
    name: str


def sources_of(
    path: Path, *, hidden: bool = False, left_out: Callable[[Path], object] = lambda path: None
) -> list[Source]:
    """A file, or all files of a folder in the order of their names.

    Args:
        hidden: those too, and what is in those folders, whose names begin with a dot.
        left_out: told of links, devices and hidden files in the folder, which are not sent.

    Raises:
        BadName: a name that no receiver takes.
        OSError: it is not there, is neither, or cannot be read.
    """
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        if path.exists() and not path.is_file():
            raise OSError(f"{path} is neither a file nor a folder")
        return [_source(path, path.name)]
    return [_source(each, f"{path.name}/{each.relative_to(path).as_posix()}") for each in _walk(path, hidden, left_out)]


class Opened:
    """A file that is being sent: its size is what it was at the beginning, and everything read is hashed.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, source: Source) -> None:
        self._name = source.name
        self.file = FileIO(source.path)
        self._stat = os.fstat(self.file.fileno())
        self.size = self._stat.st_size
        self._left = 0
        self._hash = hashlib.sha256()

    def start(self, offset: int, hashed: hashlib._Hash) -> None:
        """Read on from here; the bytes before are hashed already."""
        self.file.seek(offset)
        self._left = self.size - offset
        self._hash = hashed

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many.

        Raises:
            Refused: the file has become shorter.
        """
        data = self.file.read(min(size, self._left)) or b""
        if not data:
            raise self.changed()
        self._left -= len(data)
        self._hash.update(data)
        return data

    def finish(self) -> bytes:
        """The SHA-256 of it all.

        Raises:
            Refused: somebody has written to the file meanwhile.
        """
        now = os.fstat(self.file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
            raise self.changed()
        return self._hash.digest()

    def changed(self) -> Refused:
        return Refused(f"{self._name} has changed while it was being sent")

    def close(self) -> None:
        self.file.close()


def _source(path: Path, name: str) -> Source:
    try:
        # What is hidden is the receiver's to refuse, and Windows' characters too.
        safe_parts(name, hidden=True, windows=False)
    except BadName as error:
        raise BadName(f"{os.fsencode(path)!r} cannot be sent under its name: {error}") from None
    return Source(path, name)


def _walk(folder: Path, hidden: bool, left_out: Callable[[Path], object]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        mode = path.lstat().st_mode
        if path.name.startswith(".") and not hidden:
            left_out(path)
        elif stat.S_ISDIR(mode):
            yield from _walk(path, hidden, left_out)
        elif stat.S_ISREG(mode):
            yield path
        else:
            left_out(path)
