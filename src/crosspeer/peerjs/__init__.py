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
        MediaConnection,
        Peer,
        PeerError,
        PeerLimits,
        PeerTimeout,
        Sending,
        Serializer,
    )
    from crosspeer.peerjs.media.recording import Recording
    from crosspeer.peerjs.media.stream import MediaStream
    from crosspeer.peerjs.rtc.frames import AudioFrame, MediaError, VideoFrame

__all__ = [
    "AudioFrame",
    "Backoff",
    "BrokerLimits",
    "Client",
    "DataConnection",
    "ErrorType",
    "InvalidMessage",
    "MediaConnection",
    "MediaError",
    "MediaStream",
    "Peer",
    "PeerError",
    "PeerLimits",
    "PeerServer",
    "PeerTimeout",
    "Recording",
    "Sending",
    "Serializer",
    "Turn",
    "VideoFrame",
    "binarypack",
]

_HOMES: Final = {
    **dict.fromkeys(("BrokerLimits", "Client", "PeerServer", "Turn"), "crosspeer.peerjs.broker"),
    **dict.fromkeys(("AudioFrame", "MediaError", "VideoFrame"), "crosspeer.peerjs.rtc.frames"),
    "MediaStream": "crosspeer.peerjs.media.stream",
    "Recording": "crosspeer.peerjs.media.recording",
}
"""Where a part is, if it is not the client's."""


def __getattr__(name: str) -> Any:
    """Import a part when it is asked for: who runs a broker needs no WebRTC, and who sends data no media."""
    if name == "binarypack":
        return import_module("crosspeer.peerjs.binarypack")
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "crosspeer.peerjs.client")), name)
    raise AttributeError(f"module 'crosspeer.peerjs' has no attribute {name!r}")
