"""Test your hooks: an in-memory client with timeouts, and the contract suites for adapters.

```python
from crosspeer.testing import connect

async def test_echo():
    async with connect(Echo(), "/echo?x=1") as client:
        await client.send("hello")
        assert await client.receive() == "hello"
```
"""

from crosspeer.testing.client import Client, ConnectionClosed, HandshakeRefused
from crosspeer.testing.memory import connect

__all__ = ["Client", "ConnectionClosed", "HandshakeRefused", "connect"]
