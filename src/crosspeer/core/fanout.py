"""How a publication reaches its subscribers: one index of topics, and the walk over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from crosspeer.core.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.session import Session
    from crosspeer.core.topics import Watcher


class Fanout(Protocol):
    """The subscribers whose transports share a way of being written to.

    A hub has one for transports of any kind. An engine that writes for many connections at once brings its own, with a
    faster `publish` and the same meaning.
    """

    def add(self, topic: str, session: Session) -> None:
        """Subscribe a session, in its namespace."""
        ...

    def discard(self, topic: str, session: Session) -> None: ...

    def publish(self, topic: str, item: Outgoing, namespace: str | None, sender: Session | None) -> None:
        """Queue a message for every subscriber but the sender, in one namespace or (None) in all.

        MUST reach each exactly once, MUST NOT wait, and MUST NOT raise because of one of them.
        """
        ...

    def watch(self, watcher: Watcher) -> None:
        """Tell of the first and the last subscriber of each topic, those included that there are."""
        ...

    def __len__(self) -> int:
        """How many topics have subscribers."""
        ...


class SessionFanout:
    """The fan-out for sessions over transports of any kind: a push into each queue."""

    def __init__(self) -> None:
        self._topics: Topics[Session] = Topics()

    def add(self, topic: str, session: Session) -> None:
        self._topics.add(session.namespace, topic, session)

    def discard(self, topic: str, session: Session) -> None:
        self._topics.discard(session.namespace, topic, session)

    def publish(self, topic: str, item: Outgoing, namespace: str | None, sender: Session | None) -> None:
        if topic not in self._topics.index:
            return
        full = [
            session
            for group in self._groups(topic, namespace)
            for session in group
            if session is not sender and not session.push(item)
        ]
        # Only now: closing one changes the index that the walk above is on.
        for session in full:
            session.overflow()

    def watch(self, watcher: Watcher) -> None:
        self._topics.watch(watcher)

    @property
    def index(self) -> dict[str, Any]:
        return self._topics.index

    def __len__(self) -> int:
        return len(self._topics)

    def _groups(self, topic: str, namespace: str | None) -> Iterable[Collection[Session]]:
        return self._topics.everywhere(topic) if namespace is None else (self._topics.of(topic, namespace),)
