"""PeerJS for Python: the broker that browsers' `peerjs` meets at, wire-compatible with the npm package `peer`.

```python
from crosspeer import serve
from crosspeer.peerjs import PeerServer

serve(PeerServer(path="/myapp"), port=9000)
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crosspeer.peerjs.broker import BrokerLimits, Client, PeerServer, Turn

__all__ = ["BrokerLimits", "Client", "PeerServer", "Turn"]

_HOMES: Final = {name: "crosspeer.peerjs.broker" for name in ("BrokerLimits", "Client", "PeerServer", "Turn")}


def __getattr__(name: str) -> Any:
    """Import a part when it is asked for: who runs a broker needs no WebRTC."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'crosspeer.peerjs' has no attribute {name!r}")
