"""`/_crosspeer/health`: for load balancers and supervisors, 200 while new peers are welcome, else 503."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from crosspeer.core.hub import Hub

PATH: Final = "/_crosspeer/health"


def concerns(scope: Scope) -> bool:
    """Whether a request asks for it."""
    path: str = scope.get("path", "")
    if not path.endswith(PATH) or scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    return path.removeprefix(scope.get("root_path", "")) == PATH


async def serve(hub: Hub, scope: Scope, receive: Receive, send: Send) -> None:
    """Say how it is (`Hub.status`). Nothing more: that is nobody's business."""
    status = hub.status
    answer = JSONResponse({"status": status}, 200 if status == "ok" else 503, {"cache-control": "no-store"})
    await answer(scope, receive, send)
