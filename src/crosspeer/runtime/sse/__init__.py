"""Peers that come by `EventSource`: an event stream to them, POSTs from them, one session over many of both."""

from crosspeer.runtime.sse.gate import concerns, respond

__all__ = ["concerns", "respond"]
