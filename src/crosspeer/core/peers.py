"""Who is connected: read-only views that may be walked while peers come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crosspeer.core.peer import Peer


class PeerSet(Set["Peer"]):
    """The peers of one namespace. A walk sees those that were there when it began."""

    __slots__ = ("_peers",)

    def __init__(self, peers: dict[Peer, None]) -> None:
        self._peers = peers

    @classmethod
    def _from_iterable(cls, it: object) -> set[Peer]:  # type: ignore[override]
        """What `&`, `|` and `-` make: an ordinary set."""
        return set(it)  # type: ignore[call-overload, no-any-return]

    def __contains__(self, peer: object) -> bool:
        return peer in self._peers

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._peers))

    def __len__(self) -> int:
        return len(self._peers)

    def __repr__(self) -> str:
        return f"PeerSet({list(self._peers)!r})"


class Namespaces(Mapping[str, PeerSet]):
    """Namespace to its peers. A namespace whose last peer left is gone."""

    __slots__ = ("_spaces",)

    def __init__(self) -> None:
        self._spaces: dict[str, dict[Peer, None]] = {}

    def _add(self, namespace: str, peer: Peer) -> None:
        self._spaces.setdefault(namespace, {})[peer] = None

    def _discard(self, namespace: str, peer: Peer) -> None:
        peers = self._spaces.get(namespace)
        if peers is not None:
            peers.pop(peer, None)
            if not peers:
                del self._spaces[namespace]

    def __getitem__(self, namespace: str) -> PeerSet:
        return PeerSet(self._spaces[namespace])

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._spaces))

    def __len__(self) -> int:
        return len(self._spaces)

    def __repr__(self) -> str:
        return f"Namespaces({ {name: len(peers) for name, peers in self._spaces.items()} })"
