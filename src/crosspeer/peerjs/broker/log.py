"""The ids of this node, as the others are told of them: numbered, so that they notice what they have missed."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.peerjs.broker.directory import Entry


class Log:
    """Who has registered here and who has left.

    Args:
        wall: seconds since 1970. It orders registrations of different nodes, and decides nothing else.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._last_stamp = 0
        self.entries: dict[str, Entry] = {}
        self.number = 0

    def stamp(self, after: int = 0) -> int:
        """A moment later than all that this gave before, and than `after`, whatever the clocks say."""
        self._last_stamp = max(int(self._wall() * 1_000_000), self._last_stamp + 1, after + 1)
        return self._last_stamp

    def join(self, id: str, entry: Entry) -> None:
        self.entries[id] = entry
        self.number += 1

    def leave(self, id: str) -> None:
        del self.entries[id]
        self.number += 1


def digest_of(id: str, token: str) -> str:
    """What tells other nodes whether two clients have the same token, without the token."""
    return blake2b(token.encode(errors="replace"), key=id.encode(), digest_size=16).hexdigest()
