"""What a topic remembers, so that who was away for a moment gets what it missed: all of it in order, or told that not.

Each topic of a namespace has a log with an epoch and offsets, as Centrifugo has them: an offset is only ever compared
with another of the same epoch, so a log that was lost and begun anew is never taken for the old one. With many nodes
`sync` keeps one log for all, and these are copies of it.
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
    from collections.abc import Callable, Iterable, Mapping

MAX_LOGS: Final = 10_000
"""Topics that are remembered at once. The one that was quiet for longest goes."""
REPLAY_RATE: Final = 64 * 1024 * 1024
"""Bytes that are replayed in a second (row P11): a thousand clients that come back to 300 messages each, at once."""

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
    lost: Callable[[str, str, Position], None] | None = None
    """With many nodes: called when this one has missed messages that the log no longer has, with the namespace, the
    topic and where its subscribers stand now. Those of `tagged` topics are told by themselves."""

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


class Kept(Outgoing):
    """A message of a topic with history: in the form that subscribers get, and where it stands."""

    __slots__ = ("position", "topic")

    def __init__(self, topic: str, position: Position, item: Outgoing, *, tagged: bool) -> None:
        super().__init__(_tagged(topic, position, item) if tagged else item.data, item.compress)
        self.topic: Final = topic
        self.position: Final = position


class Log:
    """The latest messages of one topic in one namespace.

    Args:
        position: where it begins; by default it is a new one.
    """

    __slots__ = ("_bytes", "_items", "_kept", "_offset", "_topic", "bottom", "epoch", "floor")

    def __init__(self, topic: str, kept: History, position: Position | None = None) -> None:
        self._topic = topic
        self._kept = kept
        self.epoch, self._offset = position or Position(secrets.token_hex(8), 0)
        self.floor = self._offset
        """All that came after this offset is here."""
        self.bottom = 0
        """What came before this offset is nowhere."""
        self._items: deque[tuple[float, Kept]] = deque()
        self._bytes = 0

    @property
    def position(self) -> Position:
        return Position(self.epoch, self._offset)

    def append(self, item: Outgoing, now: float, offset: int | None = None) -> Kept:
        """Keep a message, and return it in the form that subscribers get.

        Args:
            offset: where it stands, if that was decided elsewhere.
        """
        self._offset = self._offset + 1 if offset is None else offset
        kept = Kept(self._topic, self.position, item, tagged=self._kept.tagged)
        self._items.append((now, kept))
        self._bytes += kept.size
        self._forget(now)
        return kept

    def prepend(self, items: Iterable[tuple[int, Outgoing]], floor: int, now: float) -> None:
        """Take messages from before the floor, each with its offset: all since another floor."""
        older = [(now, self._at(offset, item)) for offset, item in items if floor < offset <= self.floor]
        self._items.extendleft(reversed(older))
        self._bytes += sum(kept.size for _, kept in older)
        self.floor = floor
        self._forget(now)

    def skip(self, offset: int) -> None:
        """Go on behind a message that is not to be kept."""
        self._offset = offset

    def since(self, position: Position, now: float) -> list[Kept] | None:
        """What came after a position. None: part of it is not there any more, or the position is not of this log."""
        self._forget(now)
        if position.epoch != self.epoch or not self.floor <= position.offset <= self._offset:
            return None
        missed: list[Kept] = []
        for _, item in reversed(self._items):
            if item.position.offset <= position.offset:
                break
            missed.append(item)
        missed.reverse()
        return missed

    def _at(self, offset: int, item: Outgoing) -> Kept:
        return Kept(self._topic, Position(self.epoch, offset), item, tagged=self._kept.tagged)

    def _forget(self, now: float) -> None:
        items, kept = self._items, self._kept
        while items and (len(items) > kept.size or self._bytes > kept.bytes or now - items[0][0] > kept.seconds):
            _, oldest = items.popleft()
            self._bytes -= oldest.size
            self.floor = self.bottom = oldest.position.offset


class Budget:
    """So many bytes in any second.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._left = float(rate)
        self._at = clock()

    def take(self, size: int) -> bool:
        """Take so many of it. False: there are not so many left."""
        now = self._clock()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True


class Histories:
    """The logs of one hub.

    Args:
        kept: patterns of topics, as `chat/*`, and what is kept of those; the first that matches counts.
        clock: seconds that only go forward.
    """

    def __init__(self, kept: Mapping[str, History], clock: Callable[[], float] = time.monotonic) -> None:
        self._patterns = [(re.compile(translate(pattern)), pattern, history) for pattern, history in kept.items()]
        self.clock: Final = clock
        self.budget: Final = Budget(REPLAY_RATE, clock)
        """What may be replayed."""
        self._logs: OrderedDict[tuple[str, str], Log] = OrderedDict()
        self._namespaces: dict[str, dict[str, None]] = {}

    def keeps(self, topic: str) -> bool:
        return self.rule(topic) is not None

    def rule(self, topic: str) -> tuple[str, History] | None:
        """The pattern that a topic goes by, and what is kept; None if nothing is."""
        return next(((pattern, history) for match, pattern, history in self._patterns if match.match(topic)), None)

    def log(self, namespace: str, topic: str) -> Log | None:
        """The log of a topic, begun if there is none yet. None: nothing is kept of it."""
        known = self._logs.get((namespace, topic))
        if known is not None:
            return known
        rule = self.rule(topic)
        if rule is None:
            return None
        log = self._logs[namespace, topic] = Log(topic, rule[1])
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
        return log.append(item, self.clock())

    def since(self, namespace: str, topic: str, position: Position) -> list[Kept] | None:
        """What a topic has got after a position; None if it cannot be told in full."""
        log = self.log(namespace, topic)
        return None if log is None else log.since(position, self.clock())


def moved(topic: str, position: Position, *, recovered: bool) -> Outgoing:
    """Tell the subscribers of a tagged topic that they stand elsewhere now, and whether they have missed something."""
    return Outgoing(_json({"topic": topic, "position": str(position), "recovered": recovered}))


def _tagged(topic: str, position: Position, item: Outgoing) -> str:
    tag: dict[str, object] = {"topic": topic, "position": str(position)}
    if isinstance(item.data, bytes):
        tag |= {"binary": True, "data": base64.b64encode(item.data).decode()}
    else:
        tag["data"] = item.data
    return _json(tag)


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
