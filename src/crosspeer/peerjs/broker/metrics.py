"""What a broker counts, ready for export."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Metrics:
    """Counters since the start, and gauges that are read when they are asked for."""

    def __init__(self, registered: Callable[[], int], waiting: Callable[[], tuple[int, int]]) -> None:
        self._registered = registered
        self._waiting = waiting
        self.relayed: Counter[str] = Counter()
        """Messages that reached a peer, by type."""
        self.refused: Counter[str] = Counter()
        """What was not done, by reason."""
        self.registrations = 0
        """Ids that were registered."""
        self.takeovers = 0
        """Connections that took the place of another with the same id and token."""
        self.expired = 0
        """EXPIREs that were sent."""
        self.elsewhere: Callable[[], tuple[int, int]] | None = None
        """How many nodes there are, and how many ids the others have. None for a broker that is alone."""
        self.forwarded: Counter[str] = Counter()
        """Messages that went to a peer of another node, by type."""
        self.conflicts = 0
        """Clients that had to give up an id which another node had given away too, during an outage."""

    @property
    def registered(self) -> int:
        """Ids that are registered now."""
        return self._registered()

    @property
    def waiting_messages(self) -> int:
        """Messages that wait for absent peers."""
        return self._waiting()[0]

    @property
    def waiting_bytes(self) -> int:
        """Their size."""
        return self._waiting()[1]

    @property
    def nodes(self) -> int:
        """Brokers of the fleet, this one included."""
        return 1 if self.elsewhere is None else self.elsewhere()[0]

    @property
    def registered_elsewhere(self) -> int:
        """Ids of the other nodes."""
        return 0 if self.elsewhere is None else self.elsewhere()[1]

    def snapshot(self) -> dict[str, int | dict[str, int]]:
        """All of them, as plain values; of a fleet only where there is one."""
        fleet: dict[str, int | dict[str, int]] = {
            "nodes": self.nodes,
            "registered_elsewhere": self.registered_elsewhere,
            "forwarded": dict(self.forwarded),
            "conflicts": self.conflicts,
        }
        return {
            "registered": self.registered,
            "waiting_messages": self.waiting_messages,
            "waiting_bytes": self.waiting_bytes,
            "registrations": self.registrations,
            "takeovers": self.takeovers,
            "expired": self.expired,
            "relayed": dict(self.relayed),
            "refused": dict(self.refused),
            **({} if self.elsewhere is None else fleet),
        }
