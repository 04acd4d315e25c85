"""The broker's HTTP routes: what it is, a new id, who is here, and TURN credentials."""

from __future__ import annotations

import json
from inspect import isawaitable
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.responses import Response

from crosspeer.core.request import Request
from crosspeer.peerjs.broker.cors import CorsHeaders
from crosspeer.peerjs.broker.hooks import route_path
from crosspeer.peerjs.broker.rates import Buckets
from crosspeer.peerjs.broker.state import logger
from crosspeer.wire.peerjs import is_valid_id

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from crosspeer.peerjs.broker.door import Door
    from crosspeer.peerjs.broker.state import State

ABOUT: Final = {
    "name": "PeerJS Server",
    "description": "A server side element to broker connections between PeerJS clients.",
    "website": "https://peerjs.com/",
}
"""What `peer` says of itself, and tools look for."""
MAX_TRIES: Final = 10
"""Ids that a generator may give that are taken already."""


class BrokerHTTP:
    """An ASGI application. It takes the lifespan of a server too, and does nothing in it."""

    def __init__(self, state: State, door: Door) -> None:
        self._state = state
        self._options = state.options
        self._door = door
        self._cors = CorsHeaders(state.options.cors)
        rate = state.limits.requests_per_address
        self._requests = Buckets(rate, max(1.0, rate))
        self._base = state.options.path.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        below = self._below_base(route_path(scope))
        if below is None:
            await _text("Not Found", 404)(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS":
            response = Response(status_code=204, headers={"content-length": "0", **self._cors.preflight(headers)})
        else:
            response = await self._answer(below, Request(scope, receive))
            response.headers.update(self._cors.answer(headers))
        await response(scope, receive, send)

    def _below_base(self, path: str) -> str | None:
        """What stands behind the base path, without the slash that may end it. Case does not matter, as in Express."""
        if not path.endswith("/"):
            path += "/"
        return path[len(self._base) :].removesuffix("/") if path.lower().startswith(self._base) else None

    async def _answer(self, below: str, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _text("Not Found", 404)
        if not below:
            return _json(ABOUT)
        key, slash, name = below.partition("/")
        route = {"id": self._id, "peers": self._peers, "turn": self._turn}.get(name.lower()) if slash else None
        if route is None or (route == self._turn and self._options.turn is None):
            return _text("Not Found", 404)
        address = self._door.address(request.scope)
        if not self._requests.take(address, self._state.clock.time()):
            self._state.refused("too many requests", "", address)
            return _text("Too Many Requests", 429, {"retry-after": "1"})
        refusal = self._door.has_key(key, address)
        if refusal is not None:
            self._state.refused(refusal.reason, "", address)
            return _text("Invalid key provided", 401)
        return await route(request)

    async def _id(self, _request: Request) -> Response:
        for _ in range(MAX_TRIES):
            made = self._options.generate_client_id()
            id = await made if isawaitable(made) else made
            if not is_valid_id(id):
                logger.error("generate_client_id made %r, which no client may have", id)
                return _text("Internal Server Error", 500)
            if not self._is_taken(id):
                return _text(id)
        logger.error("generate_client_id made only ids that are taken, %d times", MAX_TRIES)
        return _text("Service Unavailable", 503)

    async def _peers(self, _request: Request) -> Response:
        if not self._options.allow_discovery:
            return _text("Unauthorized", 401)
        fleet = self._state.fleet
        return _json(list(self._state.registry) if fleet is None else fleet.ids())

    def _is_taken(self, id: str) -> bool:
        fleet = self._state.fleet
        return id in self._state.registry or (fleet is not None and fleet.knows(id))

    async def _turn(self, request: Request) -> Response:
        assert self._options.turn is not None
        id, token = (request.query_params.get(name, "") for name in ("id", "token"))
        if id and not is_valid_id(id):
            return _text("Invalid id", 400)
        if not await self._door.is_authentic(request, id, token):
            self._state.refused("invalid token", id, self._door.address(request.scope))
            return _text("Invalid token provided", 401)
        return _json(self._options.turn.credentials(id))


def _text(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return _response(text, status, "text/plain", headers)


def _json(value: object) -> Response:
    return _response(json.dumps(value, separators=(",", ":")), 200, "application/json; charset=utf-8")


def _response(text: str, status: int, media_type: str, headers: dict[str, str] | None = None) -> Response:
    """No browser keeps it, nor takes it for something else."""
    safe = {"cache-control": "no-store", "x-content-type-options": "nosniff", **(headers or {})}
    return Response(text, status, safe, media_type)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
