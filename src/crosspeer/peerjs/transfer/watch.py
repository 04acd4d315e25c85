"""What somebody who shows how far files are is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Watch:
    """Is told of the files of one connection, one after the other. The base does nothing. Names can be shown as they
    are, texts too: they have no control characters."""

    def begins(self, name: str, size: int, offset: int) -> None:
        """So many bytes of the file are there already."""

    def moved(self, offset: int) -> None:
        """So many bytes are on the disk of the receiver."""

    def ends(self, name: str, path: Path) -> None:
        """The file is there, checked, at this path of the receiver: a relative one, where it is not our own."""

    def fails(self, name: str, text: str) -> None:
        """The file is not taken, or not sent."""
