"""The request that opened a peer, or that an HTTP function answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from crosspeer.core.hub import Hub

__all__ = ["HUB_KEY", "Request", "Response"]

HUB_KEY: Final = "crosspeer.hub"
"""Where the ASGI scope carries the hub that serves a request."""

_HTTP_SCHEME: Final = {"ws": "http", "wss": "https"}


class Request(HTTPRequest):
    """Starlette's request, and what a hook or a route wants beside it.

    For a handshake, `url` has the http or https scheme, `method` is GET and the body is empty, as in crossws.
    """

    def __init__(self, scope: Scope, receive: Receive | None = None) -> None:
        if scope["type"] == "websocket":
            scheme = scope.get("scheme", "ws")
            scope = {
                **scope,
                "type": "http",
                "method": "GET",
                "scheme": _HTTP_SCHEME.get(scheme, scheme),
            }
        super().__init__(scope, receive or _no_body)
        self.context: dict[str, Any] = {}
        """What `upgrade` and later hooks keep of this connection. It is `peer.context` afterwards."""

    @property
    def remote_address(self) -> str | None:
        """The address of the other side as the server saw it, None on a Unix socket. Proxies are not trusted."""
        return self.client.host if self.client else None

    @property
    def hub(self) -> Hub:
        """The hub that serves this request: list its peers, publish to its topics.

        Raises:
            RuntimeError: no hub serves this request.
        """
        hub: Hub | None = self.scope.get(HUB_KEY)
        if hub is None:
            raise RuntimeError("no hub serves this request")
        return hub

    @property
    def offered_protocols(self) -> list[str]:
        """The subprotocols that the client offers, in its order (RFC 6455 section 11.3.4)."""
        lines = self.headers.getlist("sec-websocket-protocol")
        return [token for line in lines for part in line.split(",") if (token := part.strip())]


async def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
