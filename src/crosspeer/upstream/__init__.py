"""Peers that are forwarded to an upstream WebSocket: `crosspeer.proxy`."""

from crosspeer.upstream.hooks import Proxy, proxy
from crosspeer.upstream.options import Options, UpstreamClosed

__all__ = ["Options", "Proxy", "UpstreamClosed", "proxy"]
