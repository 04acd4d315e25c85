"""The static files beside the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Scope

_WELL_KNOWN: Final = ".well-known"
"""The one folder with a dot that is meant to be seen (RFC 8615)."""


class Public:
    """Static files: `index.html` stands for its folder. Dot files and links out of the folder are not there.

    Args:
        folder: the folder, which must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._files = StaticFiles(directory=folder, html=True)

    async def find(self, path: tuple[str, ...], scope: Scope) -> Response | None:
        """The file for a path of decoded segments, or None."""
        below = path[1:] if path[:1] == (_WELL_KNOWN,) else path
        if any(segment.startswith(".") or "/" in segment for segment in below):
            return None
        try:
            response = await self._files.get_response("/".join(path) or ".", scope)
        except (HTTPException, OSError):
            # Not there, not allowed, or a circle of links: for the client the same.
            return None
        # Without a word browsers guess how long a file is good, and show an old one after an edit.
        response.headers.setdefault("cache-control", "no-cache")
        # The 404.html that starlette answers with here would hide the routes that come after the files.
        return None if response.status_code == 404 else response

    async def not_found(self) -> Response | None:
        """The folder's own page for what is not found, if it has one."""
        path, status = await run_in_threadpool(self._files.lookup_path, "404.html")
        return None if status is None else FileResponse(path, status_code=404, stat_result=status)
