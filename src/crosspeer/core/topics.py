"""The one index of who is subscribed to what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from crosspeer.core.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

M = TypeVar("M")

Watcher = Callable[[str, str, bool], None]
"""Told of a namespace and a topic that has its first member (True) or lost its last one."""


class Topics(Generic[M]):
    """Topic to namespace to members. What becomes empty vanishes at once.

    Members are kept in a dict: a set that keeps its order, so that who subscribed first is delivered to first.
    """

    __slots__ = ("_index", "_watcher")

    def __init__(self) -> None:
        self._index: dict[str, dict[str, dict[M, None]]] = {}
        self._watcher: Watcher | None = None

    def watch(self, watcher: Watcher) -> None:
        """Tell of first and last members from now on."""
        self._watcher = watcher
        for topic, spaces in self._index.items():
            for namespace in spaces:
                watcher(namespace, topic, True)

    def add(self, namespace: str, topic: str, member: M) -> None:
        members = self._index.setdefault(topic, {}).setdefault(namespace, {})
        is_first = not members
        members[member] = None
        if is_first and self._watcher is not None:
            self._watcher(namespace, topic, True)

    def discard(self, namespace: str, topic: str, member: M) -> None:
        spaces = self._index.get(topic)
        members = spaces.get(namespace) if spaces else None
        if spaces is None or members is None:
            return
        members.pop(member, None)
        if not members:
            del spaces[namespace]
            if not spaces:
                del self._index[topic]
            if self._watcher is not None:
                self._watcher(namespace, topic, False)

    def of(self, topic: str, namespace: str) -> Collection[M]:
        """The members of a topic in one namespace. Valid until the next change of the index."""
        spaces = self._index.get(topic)
        return spaces.get(namespace, ()) if spaces else ()

    def everywhere(self, topic: str) -> Iterator[Collection[M]]:
        """The members of a topic in each namespace that has some. A peer lives in one namespace only."""
        return iter(tuple(self._index.get(topic, {}).values()))

    @property
    def index(self) -> dict[str, dict[str, dict[M, None]]]:
        """The index itself, for who has to see at once whether it is empty."""
        return self._index

    def __len__(self) -> int:
        return len(self._index)


def check_topic(topic: str, longest: int) -> None:
    """Raise for what is no topic name.

    Raises:
        TypeError: it is no string.
        LimitExceeded: it has more bytes than `longest`.
        ValueError: it is empty, has control characters or lone surrogates.
    """
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a string, not {type(topic).__name__}")
    if not topic:
        raise ValueError("a topic has a name")
    length = len(topic.encode())
    if length > longest:
        raise LimitExceeded(f"a topic name of {length} bytes: Limits.max_topic_length is {longest}")
    if any(character < " " or character == "\x7f" for character in topic):
        raise ValueError(f"the topic name {topic!r} has control characters")
