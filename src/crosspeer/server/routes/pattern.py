"""What the name of a route file says: the pattern of its paths, and its method. Nothing here opens a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Final

METHODS: Final = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")

_SUFFIX: Final = re.compile(rf"(?P<stem>.+)\.(?P<method>{'|'.join(METHODS).lower()})", re.DOTALL)
_PARAMETER: Final = re.compile(r"\[([^\[\]]*)\]")
_GROUP: Final = re.compile(r"\([^()]+\)")
_NOT_WORD: Final = re.compile(r"\W")


class MalformedName(ValueError):
    """A file name that gives no route; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a pattern: fixed texts, and a parameter wherever two of them meet."""

    texts: tuple[str, ...]
    names: tuple[str, ...] = field(compare=False)
    """The parameters, one fewer than texts. Two patterns that differ only here match the same paths."""

    @property
    def is_static(self) -> bool:
        return not self.names

    @property
    def rank(self) -> tuple[int, tuple[str, ...]]:
        """Sorts the more specific first: by how much of the text is fixed."""
        return -sum(map(len, self.texts)), self.texts

    def match(self, value: str) -> tuple[str, ...] | None:
        """The values of the parameters, none of them empty; the leftmost takes what it can.

        Not a regular expression: several greedy groups backtrack for minutes over a long run of dashes.
        """
        if self.is_static:
            return () if value == self.texts[0] else None
        first, *between, last = self.texts
        start, end = len(first), len(value) - len(last)
        if not (value.startswith(first) and value.endswith(last)):
            return None
        values: list[str] = []
        for text in reversed(between):
            # Guarded before it is searched: a negative end would count from the end of the string.
            at = value.rfind(text, start, end - 1) if end > start else -1
            if at < 0:
                return None
            values.append(value[at + len(text) : end])
            end = at
        return (value[start:end], *reversed(values)) if end > start else None

    def __str__(self) -> str:
        parameters = (f":{name}" for name in self.names)
        return "".join(chain.from_iterable(zip_longest(self.texts, parameters, fillvalue="")))


@dataclass(frozen=True, slots=True)
class CatchAll:
    """The end of a pattern that takes all further segments."""

    name: str = field(compare=False)
    needs_one: bool
    """Whether it must take at least one: `[...name]` must, `[...]` need not."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The paths of a route. Equal patterns match the same paths, whatever their parameters are called."""

    segments: tuple[Segment, ...]
    catch_all: CatchAll | None = None

    @property
    def is_static(self) -> bool:
        return self.catch_all is None and all(segment.is_static for segment in self.segments)

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters, in the order of the path."""
        names = tuple(chain.from_iterable(segment.names for segment in self.segments))
        return names if self.catch_all is None else (*names, self.catch_all.name)

    def __str__(self) -> str:
        parts = [str(segment) for segment in self.segments]
        if self.catch_all is not None:
            parts.append(f"**:{self.catch_all.name}" if self.catch_all.needs_one else "**")
        return "/" + "/".join(parts)


def parse_name(file: str) -> tuple[Pattern, str | None]:
    """Read the path of a file below its routes folder: the pattern, and the method if it names one.

    Raises:
        MalformedName: brackets that do not fit, or parameters that cannot be told apart.
    """
    *folders, name = file.removesuffix(".py").split("/")
    method = None
    if suffixed := _SUFFIX.fullmatch(name):
        name, method = suffixed["stem"], suffixed["method"].upper()
    parts = [folder for folder in folders if not _GROUP.fullmatch(folder)]
    if name != "index":
        parts.append(name)
    return _pattern(parts), method


def _pattern(parts: list[str]) -> Pattern:
    catch_all = None
    if parts and parts[-1].startswith("[...") and parts[-1].endswith("]"):
        catch_all = _catch_all(parts.pop()[4:-1])
    pattern = Pattern(tuple(_segment(part) for part in parts), catch_all)
    seen: set[str] = set()
    for name in pattern.names:
        if name in seen:
            raise MalformedName(f"two parameters are called {name!r}")
        seen.add(name)
    return pattern


def _catch_all(name: str) -> CatchAll:
    return CatchAll(_parameter(name, f"[...{name}]"), needs_one=True) if name else CatchAll("_", needs_one=False)


def _segment(part: str) -> Segment:
    # `split` with one group gives text, name, text, name, ..., text.
    pieces = _PARAMETER.split(part)
    texts, names = pieces[::2], pieces[1::2]
    if any("[" in text or "]" in text for text in texts):
        raise MalformedName(f"the brackets in {part!r} do not fit: write [name], or [...name] at the end")
    if "" in texts[1:-1]:
        raise MalformedName(f"two parameters in {part!r} have no text between them")
    return Segment(tuple(texts), tuple(_parameter(name, part) for name in names))


def _parameter(name: str, part: str) -> str:
    if not name:
        raise MalformedName(f"a parameter in {part!r} has no name")
    if name.startswith("..."):
        raise MalformedName(f"[{name}] in {part!r} takes the rest of a path: it must be the whole last segment")
    if name.startswith(".") or "[" in name or "]" in name:
        raise MalformedName(f"{name!r} in {part!r} is no name for a parameter")
    return _NOT_WORD.sub("_", name)
