"""PeerJS for Python: the broker that browsers' `peerjs` meets at, wire-compatible with the npm package `peer`, and
a peer that talks to those browsers.

```python
from crosspeer import serve
from crosspeer.peerjs import PeerServer

serve(PeerServer(path="/myapp"), port=9000)
```

```python
from crosspeer.peerjs import Peer

async with Peer("alice", host="localhost", port=9000, path="/myapp") as peer:
    connection = await peer.connect("bob")
    await connection.send({"hello": "bob"})
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crosspeer.peerjs import binarypack
    from crosspeer.peerjs.broker import BrokerLimits, Client, PeerServer, Turn
    from crosspeer.peerjs.client import (
        Backoff,
        DataConnection,
        ErrorType,
        InvalidMessage,
        Peer,
        PeerError,
        PeerLimits,
        PeerTimeout,
        Sending,
        Serializer,
    )

__all__ = [
    "Backoff",
    "BrokerLimits",
    "Client",
    "DataConnection",
    "ErrorType",
    "InvalidMessage",
    "Peer",
    "PeerError",
    "PeerLimits",
    "PeerServer",
    "PeerTimeout",
    "Sending",
    "Serializer",
    "Turn",
    "binarypack",
]

_BROKER: Final = frozenset({"BrokerLimits", "Client", "PeerServer", "Turn"})


def __getattr__(name: str) -> Any:
    """Import a part when it is asked for: who runs a broker needs no WebRTC."""
    if name == "binarypack":
        return import_module("crosspeer.peerjs.binarypack")
    if name in __all__:
        home = "crosspeer.peerjs.broker" if name in _BROKER else "crosspeer.peerjs.client"
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'crosspeer.peerjs' has no attribute {name!r}")
