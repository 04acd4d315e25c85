"""The native WebSocket engine of crosspeer, and its BinaryPack.

Their users are `crosspeer.server.native` and `crosspeer.wire.binarypack`; applications see only peers and values.
"""

from crosspeer_engine._native import Engine, Hooks, Message, Peer, pack, parse_head, unpack

__all__ = ["Engine", "Hooks", "Message", "Peer", "pack", "parse_head", "unpack"]
