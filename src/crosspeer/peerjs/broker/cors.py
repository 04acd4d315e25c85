"""Which web pages may read the broker's HTTP answers: what the npm package `cors` answers, that `peer` uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.datastructures import Headers

Cors = str | Iterable[str] | None
"""None: any page, whose origin is sent back. "*": any page. Else the allowed origins, as `https://example.com`."""

METHODS: Final = "GET,HEAD,PUT,PATCH,POST,DELETE"


class CorsHeaders:
    """The headers of an answer to a page of another origin. Credentials are never allowed."""

    def __init__(self, allowed: Cors) -> None:
        self._any = allowed == "*"
        self._listed = None if allowed is None else frozenset({allowed} if isinstance(allowed, str) else allowed)

    def answer(self, request: Headers) -> dict[str, str]:
        """For any answer."""
        if self._any:
            return {"access-control-allow-origin": "*"}
        origin = request.get("origin")
        headers = {"vary": "Origin"}
        if origin is not None and (self._listed is None or origin in self._listed):
            headers["access-control-allow-origin"] = origin
        return headers

    def preflight(self, request: Headers) -> dict[str, str]:
        """For the answer to OPTIONS."""
        headers = {**self.answer(request), "access-control-allow-methods": METHODS}
        wanted = request.get("access-control-request-headers")
        if wanted is not None:
            headers["access-control-allow-headers"] = wanted
        vary = [headers["vary"]] if "vary" in headers else []
        headers["vary"] = ", ".join([*vary, "Access-Control-Request-Headers"])
        return headers
