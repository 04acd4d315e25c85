"""The other nodes of a fleet: who is there, and how many peers each has, as they say themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

ANNOUNCE_EVERY: Final = 4.0
GONE_AFTER: Final = 11.0
"""Seconds of silence. Each node looks when it announces itself: with the time to that, a ghost is gone within 15."""
MAX_NODES: Final = 10_000


@dataclass(slots=True)
class Member:
    """What another node said last."""

    peers: int
    heard_at: float


class Members:
    """The nodes that were heard lately. Time comes in as an argument."""

    def __init__(self) -> None:
        self._members: dict[bytes, Member] = {}

    def heard(self, node: bytes, peers: Any, now: float) -> bool:
        """Take an announcement. True: this node was not known."""
        if not isinstance(peers, int) or isinstance(peers, bool) or peers < 0:
            return False
        is_new = node not in self._members
        if not is_new or len(self._members) < MAX_NODES:
            self._members[node] = Member(peers, now)
        return is_new

    def left(self, node: bytes) -> None:
        self._members.pop(node, None)

    def forget(self, now: float) -> list[bytes]:
        """Leave out who has been silent for too long, and say who that is."""
        gone = [node for node, member in self._members.items() if now - member.heard_at > GONE_AFTER]
        for node in gone:
            del self._members[node]
        return gone

    def __contains__(self, node: object) -> bool:
        return node in self._members

    def all(self) -> list[bytes]:
        return list(self._members)

    @property
    def peers(self) -> int:
        return sum(member.peers for member in self._members.values())

    def __len__(self) -> int:
        return len(self._members)
