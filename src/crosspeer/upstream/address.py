"""Where an upstream is: what a target says, read once and without surprises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import URL

DEFAULT_PORT: Final = {"ws": 80, "wss": 443}
UNIX: Final = "ws+unix"

_SAFE: Final = ":/?#[]@!$&'()*+,;=%~"
"""What stays as it is in a path or a query (RFC 3986 section 2.2, and what is escaped already)."""


@dataclass(frozen=True, slots=True)
class Address:
    """An upstream. It prints without the credentials, so it may be logged."""

    secure: bool
    host: str
    port: int
    resource: str
    """Path and query, as they stand in the request."""
    path: str | None = None
    """The Unix socket to connect to, instead of host and port."""
    credentials: tuple[str, str] | None = None

    @property
    def url(self) -> str:
        """The URL for the handshake. A Unix socket answers as `localhost`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORT[self._scheme] else f":{self.port}"
        return f"{self._scheme}://{host}{port}{self.resource}"

    @property
    def _scheme(self) -> str:
        return "wss" if self.secure else "ws"

    def __str__(self) -> str:
        return self.url if self.path is None else f"{UNIX}://{self.path}:{self.resource}"


def address_of(target: str | URL) -> Address:
    """Read a target: `ws://host/path`, `wss://...` or `ws+unix:///socket:/path`.

    Raises:
        TypeError: it is no string and no URL.
        ValueError: it is none of these. The message does not repeat the target, which may hold a secret.
    """
    if not isinstance(target, (str, URL)):
        raise TypeError(f"a target is a string or a URL, not {type(target).__name__}")
    text = str(target)
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("a target has no blanks and no control characters")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ValueError(f"the target is no URL: {error}") from None
    if url.fragment:
        raise ValueError("a target has no fragment")
    query = f"?{quote(url.query, safe=_SAFE)}" if url.query else ""
    if url.scheme == UNIX:
        return _unix(url.netloc + url.path, query)
    if url.scheme not in DEFAULT_PORT:
        raise ValueError(f"a target begins with ws, wss or ws+unix, not with {url.scheme or 'no scheme'}")
    if not url.hostname:
        raise ValueError("the target names no host")
    return Address(
        secure=url.scheme == "wss",
        host=_ascii(url.hostname).removesuffix("."),
        port=DEFAULT_PORT[url.scheme] if port is None else port,
        resource=(quote(url.path, safe=_SAFE) or "/") + query,
        credentials=None if url.username is None else (url.username, url.password or ""),
    )


def _unix(text: str, query: str) -> Address:
    """Up to the first colon it is the path of the socket, behind it that of the request."""
    path, _, resource = text.partition(":")
    if not path.startswith("/"):
        raise ValueError("a Unix socket is named by its whole path: ws+unix:///run/app.sock:/path")
    resource = "/" + quote(resource, safe=_SAFE).removeprefix("/")
    return Address(secure=False, host="localhost", port=80, resource=resource + query, path=path)


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("the target's host is no name") from None
