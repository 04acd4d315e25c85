"""The path of a request as segments, with everything refused that could mean another place."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from starlette.types import Scope


def path_segments(scope: Scope) -> tuple[str, ...] | None:
    """The decoded segments below `root_path`, or None for a path that nothing may answer.

    The raw path is what counts, where the server gives it, so that `a%2Fb` is one segment. One slash at the
    end is ignored. Nothing answers an empty segment (a double slash), a dot segment however it is encoded, a
    segment that begins with an encoded slash, a backslash, NUL, and what is not UTF-8: a value that passed can
    be joined to a folder without leaving it.
    """
    try:
        first, *segments = _split(scope)
    except UnicodeDecodeError:
        return None
    if first:
        return None
    segments = _below(scope.get("root_path", ""), segments)
    if segments and not segments[-1]:
        segments.pop()
    return None if any(map(_is_hostile, segments)) else tuple(segments)


def _split(scope: Scope) -> list[str]:
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        # Decoded by the server already: once more would turn %252e into a dot.
        path: str = scope["path"]
        return path.split("/")
    return [unquote_to_bytes(part).decode() for part in raw.partition(b"?")[0].split(b"/")]


def _below(root_path: str, segments: list[str]) -> list[str]:
    root = [part for part in root_path.split("/") if part]
    return segments[len(root) :] if segments[: len(root)] == root else segments


def _is_hostile(segment: str) -> bool:
    if not segment or segment.startswith("/") or "\\" in segment or "\0" in segment:
        return True
    return any(part in (".", "..") for part in segment.split("/"))
