"""What a topic remembers, so that who was away for a moment gets what it missed: all of it in order, or told that not.

Each topic of a namespace has a log with an epoch and offsets, as Centrifugo has them: an offset is only ever compared
with another of the same epoch, so a log that was lost and begun anew is never taken for the old one.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Final, NamedTuple

from crosspeer.core.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_LOGS: Final = 10_000
"""Topics that are remembered at once. The one that was quiet for longest goes."""

_POSITION: Final = re.compile(r"([0-9a-f]{16}):(0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How much of a topic is kept, whatever limit is reached first.

    Raises:
        ValueError: a limit is not positive.
    """

    size: int = 1000
    """Messages."""
    seconds: float = 120.0
    bytes: int = 1024 * 1024
    """Bytes of payload."""
    tagged: bool = False
    """Send each message as JSON text that says where it stands: `{"topic", "position", "data"}`, with `"binary": true`
    where the data is base64. Without it a client learns of positions only by what the application tells it."""

    def __post_init__(self) -> None:
        for name in ("size", "seconds", "bytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"History.{name} is a positive number, not {getattr(self, name)!r}")


class Position(NamedTuple):
    """A place in a topic: behind the message with this offset. Clients keep its text form, and bring it back."""

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: object) -> Position | None:
        """Read the text form. None: it is none, whatever a client has sent (row P9)."""
        match = _POSITION.match(text) if isinstance(text, str) else None
        return None if match is None else cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


class Recovery(NamedTuple):
    """What became of a subscription to a topic with history."""

    recovered: bool
    """Everything since the position was replayed. False: something is missing, so nothing was; or nobody asked."""
    position: Position
    """Where the peer stands now."""
    replayed: int
    """Messages."""


class Log:
    """The latest messages of one topic in one namespace."""

    __slots__ = ("_bytes", "_epoch", "_items", "_kept", "_offset")

    def __init__(self, kept: History) -> None:
        self._kept = kept
        self._epoch = secrets.token_hex(8)
        self._offset = 0
        self._items: deque[tuple[float, Outgoing]] = deque()
        self._bytes = 0

    @property
    def position(self) -> Position:
        return Position(self._epoch, self._offset)

    def append(self, topic: str, item: Outgoing, now: float) -> Outgoing:
        """Keep a message, and return it in the form that subscribers get."""
        self._offset += 1
        if self._kept.tagged:
            item = _tagged(topic, self.position, item)
        self._items.append((now, item))
        self._bytes += item.size
        self._forget(now)
        return item

    def since(self, position: Position, now: float) -> list[Outgoing] | None:
        """What came after a position. None: part of it is not there any more, or the position is not of this log."""
        self._forget(now)
        missed = self._offset - position.offset
        if position.epoch != self._epoch or not 0 <= missed <= len(self._items):
            return None
        return [item for _, item in list(self._items)[len(self._items) - missed :]]

    def _forget(self, now: float) -> None:
        items, kept = self._items, self._kept
        while items and (len(items) > kept.size or self._bytes > kept.bytes or now - items[0][0] > kept.seconds):
            self._bytes -= items.popleft()[1].size


class Histories:
    """The logs of one hub.

    Args:
        kept: patterns of topics, as `chat/*`, and what is kept of those; the first that matches counts.
        clock: seconds that only go forward.
    """

    def __init__(self, kept: Mapping[str, History], clock: Callable[[], float] = time.monotonic) -> None:
        self._patterns = [(re.compile(translate(pattern)), history) for pattern, history in kept.items()]
        self._clock = clock
        self._logs: OrderedDict[tuple[str, str], Log] = OrderedDict()
        self._namespaces: dict[str, dict[str, None]] = {}

    def keeps(self, topic: str) -> bool:
        return self._kept(topic) is not None

    def log(self, namespace: str, topic: str) -> Log | None:
        """The log of a topic, begun if there is none yet. None: nothing is kept of it."""
        known = self._logs.get((namespace, topic))
        if known is not None:
            return known
        kept = self._kept(topic)
        if kept is None:
            return None
        log = self._logs[namespace, topic] = Log(kept)
        self._namespaces.setdefault(topic, {})[namespace] = None
        if len(self._logs) > MAX_LOGS:
            (old_namespace, old_topic), _ = self._logs.popitem(last=False)
            spaces = self._namespaces[old_topic]
            del spaces[old_namespace]
            if not spaces:
                del self._namespaces[old_topic]
        return log

    def namespaces(self, topic: str) -> list[str]:
        """Where the topic has a log."""
        return list(self._namespaces.get(topic, ()))

    def record(self, namespace: str, topic: str, item: Outgoing) -> Outgoing:
        """Keep a message, if it is of a topic that is kept, and return the form that subscribers get."""
        log = self.log(namespace, topic)
        if log is None:
            return item
        self._logs.move_to_end((namespace, topic))
        return log.append(topic, item, self._clock())

    def since(self, namespace: str, topic: str, position: Position) -> list[Outgoing] | None:
        """What a topic has got after a position; None if it cannot be told in full."""
        log = self.log(namespace, topic)
        return None if log is None else log.since(position, self._clock())

    def _kept(self, topic: str) -> History | None:
        return next((history for pattern, history in self._patterns if pattern.match(topic)), None)


def _tagged(topic: str, position: Position, item: Outgoing) -> Outgoing:
    tag: dict[str, object] = {"topic": topic, "position": str(position)}
    if isinstance(item.data, bytes):
        tag |= {"binary": True, "data": base64.b64encode(item.data).decode()}
    else:
        tag["data"] = item.data
    return Outgoing(json.dumps(tag, ensure_ascii=False, separators=(",", ":")), item.compress)
