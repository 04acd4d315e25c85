"""The module for browsers, as an ASGI server gives it out: `import { PeerSocket } from "/_crosspeer/client.js"`."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATH: Final = "/_crosspeer/client.js"


@cache
def client_js() -> bytes:
    """The module itself: a plain ES module, for whoever serves it in another way."""
    return (files("crosspeer") / "browser" / "client.js").read_bytes()


def concerns(scope: Scope) -> bool:
    """Whether a request is one for the module."""
    path: str = scope.get("path", "")
    if not path.endswith(PATH) or scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    return path.removeprefix(scope.get("root_path", "")) == PATH


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer such a request. A browser asks each time whether it has changed: its version is the server's."""
    tag = f'"{sha256(client_js()).hexdigest()[:16]}"'
    known = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
    headers = {
        "etag": tag,
        "cache-control": "no-cache",
        # Nothing in it is anybody's secret, so pages of other origins may import it.
        "access-control-allow-origin": "*",
        "x-content-type-options": "nosniff",
    }
    if tag in ", ".join(known):
        await Response(status_code=304, headers=headers)(scope, receive, send)
    else:
        await Response(client_js(), headers=headers, media_type="text/javascript")(scope, receive, send)
