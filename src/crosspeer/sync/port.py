"""The port of backends: what carries bytes from one node to the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Receive = Callable[[str, bytes], None]
"""Takes the channel and the bytes of what another node, or this one, has published."""


class Backend(Protocol):
    """One connection to a backplane. `Link` opens it again after whatever went wrong, so it has no retries of its own.

    Every method may be cancelled, and raises whatever its library raises: that ends the connection. Delivery is at
    most once, in the order of publication for each channel and publisher.
    """

    max_payload: int
    """Bytes of one publication at most."""

    async def open(self, receive: Receive) -> None:
        """Connect. What comes from now on goes to `receive`, which never waits and never raises."""
        ...

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Receive what is published on these. They hold once this has returned."""
        ...

    async def unsubscribe(self, channels: Sequence[str]) -> None: ...

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Hand over publications, each with its channel, in order."""
        ...

    async def listen(self) -> None:
        """Receive until the connection is lost."""
        ...

    async def check(self) -> None:
        """Make a round trip on the connection that receives: that one dies unnoticed (row F4)."""
        ...

    async def close(self) -> None:
        """Disconnect. Also when `open` has failed, and more than once."""
        ...
