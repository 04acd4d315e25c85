"""Real-time peers for Python: hooks written once, served on every server, with topics and namespaces."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crosspeer.core.errors import CrosspeerError, InvalidMessage, LimitExceeded, MissingExtra, StreamClosed
from crosspeer.core.heartbeat import Heartbeat
from crosspeer.core.history import History, Position
from crosspeer.core.hooks import CloseDetails, Hooks, define_hooks
from crosspeer.core.hub import Hub
from crosspeer.core.limits import Limits
from crosspeer.core.message import Message
from crosspeer.core.peer import Peer
from crosspeer.core.presence import Attendee, Presence
from crosspeer.core.recovery import Recovery
from crosspeer.core.request import Request, Response
from crosspeer.core.sse import SSE
from crosspeer.core.upgrade import Upgrade
from crosspeer.runtime.eventstream import EventStream
from crosspeer.runtime.replay import Replay
from crosspeer.wire.deflate import Deflate
from crosspeer.wire.sse import Event

if TYPE_CHECKING:
    from crosspeer.server import Routes, Server, serve
    from crosspeer.upstream import proxy

__all__ = [
    "SSE",
    "Attendee",
    "CloseDetails",
    "CrosspeerError",
    "Deflate",
    "Event",
    "EventStream",
    "Heartbeat",
    "History",
    "Hooks",
    "Hub",
    "InvalidMessage",
    "LimitExceeded",
    "Limits",
    "Message",
    "MissingExtra",
    "Peer",
    "Position",
    "Presence",
    "Recovery",
    "Replay",
    "Request",
    "Response",
    "Routes",
    "Server",
    "StreamClosed",
    "Upgrade",
    "define_hooks",
    "proxy",
    "serve",
]

__version__ = "0.1.0"

_LATER = {name: "crosspeer.server" for name in ("Routes", "Server", "serve")} | {"proxy": "crosspeer.upstream"}
"""Names that are imported when they are asked for, with the libraries under them."""


def __getattr__(name: str) -> Any:
    """Import the default server when it is asked for: who mounts an adapter in another server does not need it."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'crosspeer' has no attribute {name!r}")
