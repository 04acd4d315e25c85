"""The native WebSocket engine of crosspeer. Its user is `crosspeer.server.native`; applications see only its peers."""

from crosspeer_engine._native import Engine, Hooks, Message, Peer, parse_head

__all__ = ["Engine", "Hooks", "Message", "Peer", "parse_head"]
