"""Peers that are forwarded to an upstream WebSocket: `crosspeer.proxy`."""

from crosspeer.upstream.options import Options, UpstreamClosed
from crosspeer.upstream.proxy import Proxy, proxy

__all__ = ["Options", "Proxy", "UpstreamClosed", "proxy"]
