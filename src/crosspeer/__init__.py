"""Real-time peers for Python: hooks written once, served on every server, with topics and namespaces."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crosspeer.core.errors import CrosspeerError, LimitExceeded, MissingExtra
from crosspeer.core.heartbeat import Heartbeat
from crosspeer.core.hooks import CloseDetails, Hooks, define_hooks
from crosspeer.core.hub import Hub
from crosspeer.core.limits import Limits
from crosspeer.core.message import Message
from crosspeer.core.peer import Peer
from crosspeer.core.request import Request, Response
from crosspeer.core.upgrade import Upgrade
from crosspeer.wire.deflate import Deflate

if TYPE_CHECKING:
    from crosspeer.server import Routes, Server, serve

__all__ = [
    "CloseDetails",
    "CrosspeerError",
    "Deflate",
    "Heartbeat",
    "Hooks",
    "Hub",
    "LimitExceeded",
    "Limits",
    "Message",
    "MissingExtra",
    "Peer",
    "Request",
    "Response",
    "Routes",
    "Server",
    "Upgrade",
    "define_hooks",
    "serve",
]

__version__ = "0.1.0"

_OF_THE_SERVER = frozenset({"Routes", "Server", "serve"})


def __getattr__(name: str) -> Any:
    """Import the default server when it is asked for: who mounts an adapter in another server does not need it."""
    if name in _OF_THE_SERVER:
        return getattr(import_module("crosspeer.server"), name)
    raise AttributeError(f"module 'crosspeer' has no attribute {name!r}")
