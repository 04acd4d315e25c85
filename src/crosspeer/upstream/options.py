"""The options of a proxy, checked when it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from crosspeer.core.limits import MIB

if TYPE_CHECKING:
    from starlette.datastructures import URL

    from crosspeer.core.peer import Peer
    from crosspeer.core.upgrade import HeadersLike
    from crosspeer.upstream.headers import ForwardProtocol

    Fixed = str | URL
    Found = Fixed | Awaitable[Fixed]
    Target = Fixed | Callable[[Peer], Found]
    PeerHeaders = HeadersLike | Callable[[Peer], HeadersLike | Awaitable[HeadersLike | None] | None] | None
    DialOptions = Mapping[str, Any]
    PeerOptions = DialOptions | Callable[[Peer], DialOptions | Awaitable[DialOptions | None] | None] | None
    Connect = Callable[..., Awaitable[Any]]

Source = Literal["client", "upstream", "proxy"]


@dataclass(frozen=True, slots=True)
class UpstreamClosed:
    """How the connection to an upstream ended."""

    url: str
    """Where it went, without user and password."""
    source: Source
    """Who ended it: the peer (or whoever closed the peer), the upstream, or the proxy because of a limit of its own."""
    code: int | None = None
    """The close code as it came, 1005 for none and 1006 for a lost connection; None: there was no connection yet."""
    reason: str = ""
    error: Exception | None = None
    """What went wrong, if that was an exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `proxy` takes beside its target. Times are seconds, sizes bytes.

    Raises:
        TypeError: a callback or `connect` cannot be called, or `websocket_options` has an option that is the proxy's.
        ValueError: a time or size is not positive.
    """

    forward_protocol: ForwardProtocol = True
    headers: PeerHeaders = None
    websocket_options: PeerOptions = None
    max_buffer_size: int | None = MIB
    connect_timeout: float | None = 10.0
    client_idle_timeout: float | None = None
    compress: bool | None = None
    connect: Connect | None = None
    on_upstream_connect: Callable[[Peer, str], Any] | None = None
    on_upstream_open: Callable[[Peer, str], Any] | None = None
    on_upstream_close: Callable[[Peer, UpstreamClosed], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("max_buffer_size", "connect_timeout", "client_idle_timeout"):
            value = getattr(self, name)
            wanted = int if name == "max_buffer_size" else (int, float)
            if value is not None and (not isinstance(value, wanted) or isinstance(value, bool) or not value > 0):
                raise ValueError(f"{name} is a positive number or None, not {value!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if (field.name.startswith("on_") or field.name == "connect") and not (value is None or callable(value)):
                raise TypeError(f"{field.name} is a {type(value).__name__}, not a function")
        if isinstance(self.websocket_options, Mapping):
            check_dial_options(self.websocket_options)


_OURS: Final = frozenset({"family", "host", "path", "port", "proxy", "sock", "subprotocols", "unix", "uri"})


def check_dial_options(options: Mapping[str, Any]) -> None:
    """Raise for what the proxy says itself: where to connect to, and what to offer.

    Raises:
        TypeError: one of these is among them.
    """
    if taken := sorted(_OURS & options.keys()):
        raise TypeError(f"websocket_options has {', '.join(taken)}: that is the proxy's to say")
