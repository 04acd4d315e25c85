"""`Routes`: a folder of route files as an ASGI application, and as the resolver of a hub."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from starlette.responses import PlainTextResponse, Response

from crosspeer.core.request import Request
from crosspeer.server.routes.answer import answer
from crosspeer.server.routes.path import path_segments
from crosspeer.server.routes.pattern import METHODS
from crosspeer.server.routes.public import Public
from crosspeer.server.routes.scan import scan
from crosspeer.server.routes.table import Match, Table

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from crosspeer.core.hooks import Hooks
    from crosspeer.server.routes.load import Route

logger = logging.getLogger("crosspeer")

_FILE_METHODS: Final = ("GET", "HEAD")


class Routes:
    """File-based routes: a file is an endpoint, its name is the path.

    A file exports `websocket` (hooks in any form) and HTTP functions: `get`, `post` and so on, or `handler`
    for every method. They are called on the event loop, as hooks are: they may be sync or async, may publish
    to `request.hub`, and must not block. They get the `Request`, with its `path_params` filled, and return a
    `Response`, str, bytes, None (204) or anything with a JSON form.

    All files are imported once, here. A file that fails is logged, is in `errors` and answers 500; the others
    stay up. As an ASGI application it serves HTTP. Handshakes are for a hub:
    `Hub(resolve=routes.resolve, namespace=routes.namespace)` is what `serve` and `Server` make of it.

    Args:
        folder: the routes folder.
        public: a folder of static files, False for none. By default `public/` beside the routes folder, if
            there is one.

    Raises:
        FileNotFoundError: a folder does not exist.
        NotADirectoryError: it is not a folder.
        ValueError: the public folder holds the routes, so their source would be served.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, public: str | os.PathLike[str] | Literal[False] | None = None
    ) -> None:
        self.folder: Final = _folder(folder, "routes")
        self._public = _public(self.folder, public)
        self._routes, errors = scan(self.folder)
        self.errors: Final = errors
        """What is wrong with which file. Each was logged, in one line."""
        for error in errors:
            logger.error("%s", error)
        self._table = Table(self._routes)

    def __iter__(self) -> Iterator[Route]:
        """The files that are routes, in the order of their paths."""
        return iter(self._routes)

    def __repr__(self) -> str:
        return f"Routes({str(self.folder)!r})"

    def resolve(self, request: Request) -> Hooks | Response | None:
        """Find the hooks for a handshake and set its path parameters.

        None where the path has no route, or its route no `websocket`; a 500 where the route is broken.
        """
        path = path_segments(request.scope)
        match = None if path is None else self._table.choose(path, "GET")
        route = None if match is None else match.endpoint.websocket()
        if match is None or route is None:
            return None
        _set_parameters(request.scope, match, route)
        if route.websocket is None:
            return PlainTextResponse("Internal Server Error", 500)
        return route.websocket

    def namespace(self, request: Request) -> str:
        """Where the peers of a request live: its path, as the match takes it, without a slash at the end."""
        path: str = request.scope["path"]
        return path.rstrip("/") or "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            # Nobody put a hub before it. Closed before it is accepted is refused.
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
        else:
            response = await self._respond(dict(scope), receive)
            await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        """A route without parameters comes first, then a static file, then the other routes."""
        path = path_segments(scope)
        if path is None:
            return await self._not_found(scope)
        method: str = scope["method"]
        match = self._table.choose(path, method)
        found = None if match is None else match.endpoint.function(method)
        static = found is not None and found[0].paths.is_static
        if not static and (file := await self._file(path, scope)) is not None:
            return file
        if match is None or found is None:
            return await self._refuse(path, scope)
        route, function = found
        _set_parameters(scope, match, route)
        return await answer(function, Request(scope, receive))

    async def _file(self, path: tuple[str, ...], scope: Scope) -> Response | None:
        if self._public is None or scope["method"] not in _FILE_METHODS:
            return None
        return await self._public.find(path, scope)

    async def _refuse(self, path: tuple[str, ...], scope: Scope) -> Response:
        """Say which methods a path knows, or that it is only for peers, or that it is not there."""
        first = next(self._table.find(path), None)
        if first is None:
            return await self._not_found(scope)
        # A handshake is a GET, so that is what a route for peers allows.
        methods = self._methods(path) or ["GET"]
        allow = {"allow": ", ".join(sorted({*methods, "OPTIONS"}))}
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=allow)
        if first.endpoint.is_for_peers_only:
            return PlainTextResponse("WebSocket upgrade is required.", 426, {"upgrade": "websocket"})
        return PlainTextResponse("Method Not Allowed", 405, allow)

    def _methods(self, path: tuple[str, ...]) -> list[str]:
        """The methods that a function answers, by whichever of the matching routes."""
        chosen = ((method, self._table.choose(path, method)) for method in METHODS)
        return [method for method, match in chosen if match is not None and match.endpoint.function(method)]

    async def _not_found(self, scope: Scope) -> Response:
        page = None
        if self._public is not None and scope["method"] in _FILE_METHODS:
            page = await self._public.not_found()
        return page or PlainTextResponse("Not Found", 404)


def _set_parameters(scope: Scope, match: Match, route: Route) -> None:
    # Beside those of a mount that it is below, as Starlette's own routes do it.
    scope["path_params"] = {**scope.get("path_params", {}), **match.parameters(route)}


def _folder(given: str | os.PathLike[str], what: str) -> Path:
    """The absolute path, by the name that it was given: links are followed later.

    Raises:
        FileNotFoundError, NotADirectoryError: it is no folder.
    """
    folder = Path(given).absolute()
    if not folder.exists():
        raise FileNotFoundError(f"there is no {what} folder {str(given)!r}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(given)!r} is a file, not a {what} folder")
    return folder


def _public(routes: Path, given: str | os.PathLike[str] | Literal[False] | None) -> Public | None:
    if given is False or (given is None and not (routes.parent / "public").is_dir()):
        return None
    folder = _folder(routes.parent / "public" if given is None else given, "public")
    if routes.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the public folder {str(folder)!r} holds the routes: their source would be served")
    return Public(folder)


async def _lifespan(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
