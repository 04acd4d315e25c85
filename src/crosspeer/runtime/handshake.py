"""What every adapter does in a handshake: keep its deadline, and know what a refusal says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse, Response

from crosspeer.wire.handshake import Refusal

if TYPE_CHECKING:
    from crosspeer.core.admission import Admission
    from crosspeer.core.hub import Hub
    from crosspeer.core.request import Request

logger = logging.getLogger("crosspeer")


Waiting = Coroutine[Any, Any, "Admission | Response"]


async def admit(hub: Hub, request: Request) -> Admission | Response:
    """`hub.admit` within `Limits.handshake_timeout`; what takes longer is refused with 503."""
    admitted = hub.gate.admit(request)
    return await in_time(hub, request, admitted) if isinstance(admitted, Coroutine) else admitted


async def in_time(hub: Hub, request: Request, waiting: Waiting) -> Admission | Response:
    """Wait for what `hub.admit` could not say at once, as long as a handshake may take."""
    try:
        async with asyncio.timeout(hub.limits.handshake_timeout):
            return await waiting
    except TimeoutError:
        logger.warning("the handshake for %r took too long", request.scope["path"])
        return PlainTextResponse("Service Unavailable", 503)


_told: set[str] = set()


def tell_once(loss: str) -> None:
    """Warn, once a process, that the server leaves out something of what the application answers."""
    if loss not in _told:
        _told.add(loss)
        logger.warning("%s with this server (docs/compatibility.md)", loss)


async def rendered(response: Response) -> Refusal:
    """Run a response as the ASGI application that it is, and collect what it sends."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(event: Any) -> None:
        sent.append(event)

    await response({"type": "http", "method": "GET", "headers": []}, receive, send)
    body = b"".join(event.get("body", b"") for event in sent[1:])
    return Refusal(sent[0]["status"], list(sent[0].get("headers", [])), body)
