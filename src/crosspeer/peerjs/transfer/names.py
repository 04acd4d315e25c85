"""Which names of files are taken from a stranger: those that stay inside the folder, and are what they look like."""

from __future__ import annotations

import os
import unicodedata
from typing import Final

MAX_NAME: Final = 240
"""Bytes of a part. File systems take 255; the rest is for `SUFFIX`, or a number that makes a name new."""
MAX_PATH: Final = 1024
MAX_DEPTH: Final = 32

SUFFIX: Final = ".crosspeer-part"
"""Ends the name of a file that has not come completely."""

_DEVICES: Final = frozenset(
    [
        "CON",
        "PRN",
        "AUX",
        "NUL",
        "CONIN$",
        "CONOUT$",
        *(f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"),
    ]
)
"""Windows finds these in every folder, with any extension. Refused everywhere: folders are shared."""
_NOT_ON_WINDOWS: Final = frozenset('<>:"|?*')
_TURNS_TEXT: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Make `gpj.exe` look like `exe.jpg`."""
_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


class BadName(ValueError):
    """The name is not taken; the text says why."""


def safe_parts(name: str, *, hidden: bool = False, windows: bool = os.name == "nt") -> tuple[str, ...]:
    """The folders and the file that a name stands for, parted by slashes, below the folder that files go to.

    Args:
        hidden: take parts that begin with a dot. Shells and programs run what is in such files.
        windows: refuse what Windows cannot store, too.

    Raises:
        BadName: it may lead elsewhere, or cannot be stored.
    """
    if len(name) > MAX_PATH or len(name.encode(errors="replace")) > MAX_PATH:
        raise BadName(f"it has more than {MAX_PATH} bytes")
    parts = tuple(name.split("/"))
    if len(parts) > MAX_DEPTH:
        raise BadName(f"it is more than {MAX_DEPTH} folders deep")
    for part in parts:
        _check(part, hidden=hidden, windows=windows)
    return parts


def printable(text: str, most: int = 200) -> str:
    """A stranger's text as a terminal may show it: what controls terminals, or turns text around, as its escape."""
    shown = text if len(text) <= most else f"{text[:most]}..."
    return "".join(_escaped(c) if _is_unseen(c) else c for c in shown)


def _check(part: str, *, hidden: bool, windows: bool) -> None:
    if part in ("", ".", ".."):
        raise BadName("it leads outside of the folder")
    if "\\" in part:
        raise BadName("it has a backslash")
    if any(_is_unseen(c) for c in part):
        raise BadName("it has characters that cannot be seen")
    if len(part.encode()) > MAX_NAME:
        raise BadName(f"a part of it has more than {MAX_NAME} bytes")
    if part.startswith(".") and not hidden:
        raise BadName("it is hidden")
    if part.endswith((".", " ")) or part.startswith(" "):
        raise BadName("a part of it begins with a space, or ends with a space or a dot")
    if part.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        raise BadName("it is a device on Windows")
    if part.casefold().endswith(SUFFIX):
        raise BadName(f"names that end with {SUFFIX} are our own")
    if windows and not _NOT_ON_WINDOWS.isdisjoint(part):
        raise BadName("it has a character that Windows does not take")


def _is_unseen(c: str) -> bool:
    return unicodedata.category(c) in _UNSEEN or c in _TURNS_TEXT


def _escaped(c: str) -> str:
    return c.encode("unicode_escape", "surrogatepass").decode("ascii")
