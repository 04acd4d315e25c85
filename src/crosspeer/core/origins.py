"""Which web pages may open a peer: the Origin check of RFC 6455 section 10.2."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from crosspeer.core.request import Request

Origins = str | Iterable[str] | None
"""None: same origin only. "*": any. Else the allowed origins, as `https://example.com`."""

_DEFAULT_PORT: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def origin_check(origins: Origins) -> Callable[[Request], bool]:
    """Make the function that says whether a handshake's Origin is allowed.

    A request without Origin comes from no browser and is allowed; a page of the same host and port always is.

    Raises:
        ValueError: an allowed origin is not of the form `scheme://host[:port]`.
    """
    if origins == "*":
        return lambda _request: True
    listed = [origins] if isinstance(origins, str) else list(origins or ())
    if "*" in listed:
        return lambda _request: True
    allowed = {_required(origin) for origin in listed}

    def check(request: Request) -> bool:
        sent = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"origin"]
        if not sent:
            return True
        origin = _parse(sent[0]) if len(sent) == 1 else None
        return origin is not None and (origin in allowed or _is_same(origin, request))

    return check


def home_of(request: Request) -> str:
    """Which page a request comes from, in a form to compare with that of a later one.

    A page of the same host says so in some of its requests and nothing in others, as clients that are no browsers do.
    """
    sent = request.headers.getlist("origin")
    origin = _parse(sent[0]) if len(sent) == 1 else None
    if not sent or (origin is not None and _is_same(origin, request)):
        return ",".join(request.headers.getlist("host")).lower()
    return f"{origin[0]}://{origin[1]}:{origin[2]}" if origin is not None else ",".join(sent)


def _is_same(origin: tuple[str, str, int], request: Request) -> bool:
    """Compare with the Host header. Its scheme is the Origin's: a proxy in front may have ended the TLS."""
    scheme, host, port = origin
    hosts = request.headers.getlist("host")
    return len(hosts) == 1 and _parse(f"{scheme}://{hosts[0]}") == (scheme, host, port)


def _required(text: str) -> tuple[str, str, int]:
    origin = _parse(text)
    if origin is None:
        raise ValueError(f"{text!r} is no origin: write scheme://host or scheme://host:port")
    return origin


def _parse(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port in one normal form; None for everything that is no origin, `null` included."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None
    scheme = url.scheme.lower()
    if not scheme or not url.hostname or url.username is not None or url.path or url.query or url.fragment:
        return None
    if port is None:
        port = _DEFAULT_PORT.get(scheme, 0)
    return scheme, url.hostname, port
