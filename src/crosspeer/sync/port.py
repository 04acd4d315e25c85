"""The port of backends: what carries bytes from one node to the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from crosspeer.core.history import History

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


class LogName(NamedTuple):
    """Which log."""

    channel: str
    """What it stamps and publishes its messages on. `LOG_MARK` is in it."""
    pattern: str
    """Of the topics that share these bounds."""
    kept: History


class Append(NamedTuple):
    """A message for a log."""

    log: LogName
    sender: str
    """Whose number it is: letters, digits and dashes."""
    number: int
    """Greater than those that this sender had for this log before. Another time it is the same message, and ignored."""
    data: bytes


class Ask(NamedTuple):
    """A question for what came after an offset, or (None) only for where the log stands."""

    log: LogName
    after: int | None


class Page(NamedTuple):
    """What a log has."""

    epoch: str
    head: int
    """The offset of its last message."""
    floor: int
    """All that came after this offset is here. Greater than what was asked for: the log has no more."""
    entries: list[tuple[int, bytes]]
    """Offsets and messages, in order."""


LOG_MARK: Final = ":log:"


@runtime_checkable
class Logs(Protocol):
    """What a backend can do beside that keeps logs. Each offset is given once in an epoch, in the order of the log.

    What is appended is published on the channel of the log, stamped (`wire.logged`), to all that are subscribed to it.
    """

    async def append(self, batch: Sequence[Append]) -> None:
        """Append messages, those of one log in order. When this has returned the log has them."""
        ...

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        """Read logs. Of what `check` has seen subscribed, nothing falls between a page and what is received.

        Asked for nothing, raise where there can be no logs.

        Returns:
            None for a log that cannot be read.
        """
        ...

    async def renew(self, log: LogName, epoch: str) -> None:
        """Begin a log anew, if this is still its epoch: it has lost messages that were delivered."""
        ...
