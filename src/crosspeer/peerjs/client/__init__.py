"""The client of PeerJS: a Python program as a peer among browsers."""

from __future__ import annotations

from crosspeer.peerjs.client.data import DataConnection
from crosspeer.peerjs.client.errors import ErrorType, PeerError, PeerTimeout
from crosspeer.peerjs.client.media import MediaConnection
from crosspeer.peerjs.client.options import Backoff, PeerLimits
from crosspeer.peerjs.client.peer import Peer
from crosspeer.peerjs.client.sending import Sending
from crosspeer.peerjs.client.serializers import InvalidMessage, Serializer

__all__ = [
    "Backoff",
    "DataConnection",
    "ErrorType",
    "InvalidMessage",
    "MediaConnection",
    "Peer",
    "PeerError",
    "PeerLimits",
    "PeerTimeout",
    "Sending",
    "Serializer",
]
