"""From an HTTP function to a response: what it may return, and what becomes of what it raises."""

from __future__ import annotations

import logging
from inspect import isawaitable
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from crosspeer.core.outgoing import to_json

if TYPE_CHECKING:
    from crosspeer.core.request import Request
    from crosspeer.server.routes.load import Function

logger = logging.getLogger("crosspeer")


async def answer(function: Function, request: Request) -> Response:
    """Call a function, here on the event loop. What it raises is logged and answered with 500."""
    try:
        result = function.call(request) if function.wants_request else function.call()
        return as_response(await result if isawaitable(result) else result)
    except HTTPException as refusal:
        return _refused(refusal)
    except ClientDisconnect:
        # It went in the middle of its body: nobody's fault here, and nobody there to read this.
        return PlainTextResponse("Bad Request", 400)
    except Exception as error:
        logger.error("%s %r failed", request.method, request.scope["path"], exc_info=error)
        return PlainTextResponse("Internal Server Error", 500)


def as_response(value: object) -> Response:
    """Make a response of what a function returned.

    str is text, bytes-like is binary, None is 204 without a body, all else is JSON.

    Raises:
        TypeError: no JSON form is known.
        ValueError: a number is not finite, or the text has lone surrogates.
    """
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status_code=204)
    if isinstance(value, str):
        return PlainTextResponse(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Response(bytes(value), media_type="application/octet-stream")
    return Response(to_json(value), media_type="application/json")


def _refused(refusal: HTTPException) -> Response:
    if refusal.status_code in (204, 304):
        return Response(status_code=refusal.status_code, headers=refusal.headers)
    return PlainTextResponse(str(refusal.detail), refusal.status_code, refusal.headers)
