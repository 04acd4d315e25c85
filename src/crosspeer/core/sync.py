"""The port between a hub and the other hubs of its fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crosspeer.core.history import Position
    from crosspeer.core.hub import Hub
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.peer import Peer
    from crosspeer.core.presence import Attendee
    from crosspeer.core.recovery import Recovery
    from crosspeer.core.session import Session


Outage = Literal["lost", "back", "gap"]
"""When messages of other hubs may be missing.

- `lost`: they cannot be reached; what they publish from now on is missed.
- `back`: they can be reached again; what they have published meanwhile was missed.
- `gap`: one of them was cut off, lost some messages or died; some of its own are missing.
"""


class Journal(Protocol):
    """Keeps one log of a topic for all hubs. Every hub delivers what is published in the order of the log."""

    def publish(self, namespace: str | None, topic: str, item: Outgoing, sender: Session | None) -> None:
        """Take a publication for all hubs, this one included; None means all namespaces. MUST NOT wait."""
        ...

    def subscribed(self, peer: Peer, topic: str, since: Position | None, is_new: bool) -> Recovery:
        """A peer of this hub has subscribed: replay what it has missed, before it gets what is new."""
        ...


class Sync(Protocol):
    """Where a hub hands on what is published on it, so that other hubs `deliver` it too.

    `crosspeer.sync` has those for Redis, NATS, PostgreSQL and the workers of one machine.
    """

    def bind(self, hub: Hub) -> None:
        """Work for this hub. Called once, when the hub is made, perhaps before there is a loop."""
        ...

    def relay(self, namespace: str | None, topic: str, item: Outgoing) -> None:
        """Take one publication; None means all namespaces. MUST NOT wait. What it raises is logged."""
        ...

    def interest(self, namespace: str, topic: str, begun: bool) -> None:
        """A topic has its first subscriber here, or lost its last one. Called once for each way of being written to,
        so the calls are to be counted."""
        ...

    @property
    def journal(self) -> Journal | None:
        """What keeps the logs of topics with history. None: each hub keeps its own."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether the others can be reached."""
        ...

    @property
    def peers_elsewhere(self) -> int:
        """How many peers the other hubs have, as they last said."""
        ...

    def attend(self, namespace: str, topic: str, attendee: Attendee, present: bool) -> None:
        """Tell the others that someone is in a topic now, or not any more."""
        ...

    def disconnect(self, target: str | Mapping[str, Any], code: int, reason: str) -> None:
        """Have the others close a peer by its id, or all whose context matches."""
        ...

    def send_to(self, peer_id: str, item: Outgoing) -> None:
        """Have the others send to a peer that is not here."""
        ...

    async def start(self) -> None:
        """Connect, if that is not done already."""
        ...

    async def close(self) -> None:
        """Hand on what is left, and disconnect."""
        ...
