"""How far files are: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from crosspeer.cli_peer.running import say
from crosspeer.peerjs.transfer import Watch

if TYPE_CHECKING:
    from pathlib import Path

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP: Final = 10
"""Percent between two lines."""


class Shown(Watch):
    """Lines, for a file or a pipe.

    Args:
        preposition: "to" or "from".
        other: the id of the other side.
    """

    def __init__(self, preposition: str, other: str) -> None:
        self.failed = 0
        """Files that did not get through."""
        self.complete = 0
        self.offset = 0
        """Bytes of the present file that are through."""
        self._peer = f"{preposition} {other}"
        self._name = ""
        self._size = self._first = self._percent = 0
        self._started_at = 0.0

    def begins(self, name: str, size: int, offset: int) -> None:
        self._name, self._size, self._first, self.offset = name, size, offset, offset
        self._started_at = time.monotonic()
        self._tell_begin(f"{name}: {in_bytes(size)} {self._peer}{_going_on(offset, size)}")

    def moved(self, offset: int) -> None:
        self.offset = offset
        self._tell_moved(offset)

    def ends(self, name: str, path: Path) -> None:
        self.complete += 1
        self._clear()
        stored = "" if path.as_posix().endswith(name) else f", as {path.name}"
        if self._first == self._size > 0:
            self._line(f"{name}: was complete there already{stored}")
        else:
            self._line(f"{name}: complete, checksum right, {self._rate(self._size)}{stored}")

    def fails(self, name: str, text: str) -> None:
        self.failed += 1
        self._clear()
        self._line(f"{name}: {text}", err=True)

    def cut(self, text: str) -> None:
        """The connection has ended, and there will be another one."""
        self._clear()
        self._line(f"{text.rstrip('.')}: trying again", err=True)

    # What a bar does otherwise.

    def _tell_begin(self, line: str) -> None:
        self._percent = self._first * 100 // self._size if self._size else 0
        self._line(line)

    def _tell_moved(self, offset: int) -> None:
        percent = offset * 100 // self._size
        if percent // _STEP > self._percent // _STEP and percent < 100:
            self._percent = percent
            self._line(f"{self._name}: {percent} %, {self._rate(offset)}, {self._left(offset)} left")

    def _clear(self) -> None:
        """Take away what moves."""

    def _line(self, text: str, *, err: bool = False) -> None:
        say(text, err=err)

    # Inside.

    def _rate(self, offset: int) -> str:
        return f"{in_bytes(self._speed(offset))}/s"

    def _left(self, offset: int) -> str:
        return in_time((self._size - offset) / max(self._speed(offset), 1))

    def _speed(self, offset: int) -> float:
        return (offset - self._first) / max(time.monotonic() - self._started_at, 1e-3)


class Bar(Shown):
    """A bar of tqdm, with rate and time left."""

    def __init__(self, preposition: str, other: str, tqdm: Any) -> None:
        super().__init__(preposition, other)
        self._tqdm = tqdm
        self._bar: Any = None

    def _tell_begin(self, line: str) -> None:
        self._bar = self._tqdm(
            desc=self._name,
            total=self._size,
            initial=self._first,
            unit="B",
            unit_scale=True,
            leave=False,
            dynamic_ncols=True,
            file=sys.stdout,
        )

    def _tell_moved(self, offset: int) -> None:
        self._bar.update(offset - self._bar.n)

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, text: str, *, err: bool = False) -> None:
        # Above the bars of other files.
        self._tqdm.write(text, file=sys.stderr if err else sys.stdout)


def shown(preposition: str, other: str) -> Shown:
    """A bar where there is a terminal and the package for it, else lines."""
    if sys.stdout.isatty():
        try:
            from tqdm import tqdm  # type: ignore[import-untyped]
        except ModuleNotFoundError:
            return Shown(preposition, other)
        return Bar(preposition, other, tqdm)
    return Shown(preposition, other)


def in_bytes(size: float) -> str:
    """A size for people: 1.2 MB."""
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 99.5 or unit == "B" else f"{size:.3g} {unit}"


def in_time(seconds: float) -> str:
    """A time for people: 1:05, or 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _going_on(offset: int, size: int) -> str:
    return f", goes on after {offset * 100 // size} %" if 0 < offset < size else ""
