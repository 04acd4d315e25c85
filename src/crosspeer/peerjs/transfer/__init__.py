"""Files over a data connection: checked, bounded, and taken up again after a cut. docs/transfer.md has the protocol."""

from __future__ import annotations

from crosspeer.peerjs.transfer.errors import ProtocolError, Refused, TransferError
from crosspeer.peerjs.transfer.names import BadName
from crosspeer.peerjs.transfer.receiver import Receiver
from crosspeer.peerjs.transfer.sender import OFFER_OPTIONS, Sender
from crosspeer.peerjs.transfer.source import Source, sources_of
from crosspeer.peerjs.transfer.watch import Watch

__all__ = [
    "OFFER_OPTIONS",
    "BadName",
    "ProtocolError",
    "Receiver",
    "Refused",
    "Sender",
    "Source",
    "TransferError",
    "Watch",
    "sources_of",
]
