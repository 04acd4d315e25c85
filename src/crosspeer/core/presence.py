"""Who is in a topic: the subscribers of this hub and, as the others say, of all hubs."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crosspeer.core.peer import Peer

logger = logging.getLogger("crosspeer")

MAX_INFO: Final = 4096
"""Bytes of a peer's public info as JSON: every node keeps it."""
MAX_ATTENDEES: Final = 100_000
"""Of one other node: more than that is a fault, and not believed."""


class Attendee(NamedTuple):
    """Someone in a topic."""

    peer_id: str
    info: Any
    """What the application says of it to everybody: a JSON value."""


Told = Callable[[str, str, Attendee], None]
"""Takes the namespace, the topic and who it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What others may know of the subscribers of a topic."""

    info: Callable[[Peer], Any] | None = None
    """Called once, when a peer subscribes, for what everybody may know of it. By default nothing."""
    joined: Told | None = None
    """Called for each peer that comes, on whatever node."""
    left: Told | None = None
    """Called for each that goes, those of a node that has died included."""


Room = tuple[str, str]
"""A topic in a namespace: the namespace, the topic."""


class Attendance:
    """The attendees of one hub.

    Args:
        rules: patterns of topics, as `chat/*`; the first that matches counts.
    """

    def __init__(self, rules: Mapping[str, Presence]) -> None:
        self._rules = [(re.compile(translate(pattern)), presence) for pattern, presence in rules.items()]
        self._here: dict[Room, dict[str, Any]] = {}
        self._elsewhere: dict[bytes, dict[Room, dict[str, Any]]] = {}

    def rule(self, topic: str) -> Presence | None:
        return next((presence for pattern, presence in self._rules if pattern.match(topic)), None)

    def join(self, peer: Peer, topic: str) -> Attendee | None:
        """A peer of this hub has subscribed. None: nobody is to know.

        Raises:
            ValueError, TypeError: its info has no JSON form, or too long a one.
        """
        rule = self.rule(topic)
        if rule is None:
            return None
        attendee = Attendee(peer.id, None if rule.info is None else _checked(rule.info(peer)))
        self._here.setdefault((peer.namespace, topic), {})[attendee.peer_id] = attendee.info
        self._tell(rule.joined, peer.namespace, topic, attendee)
        return attendee

    def part(self, peer: Peer, topic: str) -> Attendee | None:
        """A peer of this hub has unsubscribed. None: nobody knew of it."""
        return self._take(self._here, (peer.namespace, topic), peer.id)

    def of(self, topic: str, namespace: str) -> list[Attendee]:
        """Everybody in a topic, those of this hub first. Who is on two nodes for a moment counts once."""
        rooms = [self._here, *self._elsewhere.values()]
        found: dict[str, Any] = {}
        for known in rooms:
            for peer_id, info in known.get((namespace, topic), {}).items():
                found.setdefault(peer_id, info)
        return [Attendee(*pair) for pair in found.items()]

    def here(self) -> Iterator[tuple[str, str, Attendee]]:
        """All attendees of this hub, for others to hear of."""
        for (namespace, topic), known in self._here.items():
            for pair in known.items():
                yield namespace, topic, Attendee(*pair)

    # What other nodes say.

    def joined_elsewhere(self, node: bytes, namespace: str, topic: str, attendee: Attendee) -> None:
        rooms = self._elsewhere.setdefault(node, {})
        rule = self.rule(topic)
        known = rooms.setdefault((namespace, topic), {})
        if rule is None or sum(map(len, rooms.values())) >= MAX_ATTENDEES:
            if not known:
                del rooms[namespace, topic]
            return
        is_new = attendee.peer_id not in known
        known[attendee.peer_id] = _checked(attendee.info)
        if is_new:
            self._tell(rule.joined, namespace, topic, attendee)

    def left_elsewhere(self, node: bytes, namespace: str, topic: str, peer_id: str) -> None:
        self._take(self._elsewhere.get(node, {}), (namespace, topic), peer_id)

    def forget(self, node: bytes) -> None:
        """A node is gone, with all who were there."""
        for (namespace, topic), known in self._elsewhere.pop(node, {}).items():
            rule = self.rule(topic)
            for pair in known.items():
                self._tell(rule.left if rule else None, namespace, topic, Attendee(*pair))

    def _take(self, rooms: dict[Room, dict[str, Any]], room: Room, peer_id: str) -> Attendee | None:
        known = rooms.get(room)
        if known is None or peer_id not in known:
            return None
        attendee = Attendee(peer_id, known.pop(peer_id))
        if not known:
            del rooms[room]
        rule = self.rule(room[1])
        self._tell(rule.left if rule else None, *room, attendee)
        return attendee

    def _tell(self, told: Told | None, namespace: str, topic: str, attendee: Attendee) -> None:
        if told is not None:
            try:
                told(namespace, topic, attendee)
            except Exception as error:
                logger.error("a presence callback for %r failed", topic, exc_info=error)


def _checked(info: Any) -> Any:
    size = len(json.dumps(info, allow_nan=False))
    if size > MAX_INFO:
        raise ValueError(f"the public info of a peer has {size} bytes as JSON, {MAX_INFO} are allowed")
    return info
