"""The history checker: what every subscriber of a fleet heard, held against what was published.

It knows nothing of nodes, sockets or clocks. A *stream* is what one publisher said to one topic over one connection,
numbered from 0. A *log* is what one subscriber heard of one topic, over all of its connections, and when it was told
that something may be missing. Two promises are checked:

- of every topic: nothing that nobody said, nothing twice, each stream in its order, and a gap within a stream only
  behind a telling. Where there is no history, each connection is for itself: nobody on the new node knows what the old
  one has delivered, and what is late on its way may come there once more.
- of a topic with history, beside that: positions count on, and the same one holds the same message for everybody. Where
  offsets have holes, nobody else has heard what is in one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Kind = Literal["loss", "double", "disorder", "untold gap", "invented"]

GRACE: Final = 2.0
"""Seconds after which a subscription holds on all nodes: what is published before may be missed."""


class Stream(NamedTuple):
    """Whose numbers count on: a publisher's connection, for one topic."""

    publisher: str
    session: int


class Heard(NamedTuple):
    """A message. Topics without history have no positions: there the epoch is empty."""

    stream: Stream
    number: int
    epoch: str = ""
    offset: int = 0


class Told(NamedTuple):
    """From here on the subscriber knows that something may be missing before this."""

    at: float


class Came(NamedTuple):
    """A new connection."""

    at: float
    whole: bool = False
    """Whether it was said that nothing is missing (`recovered`)."""
    epoch: str = ""
    offset: int = 0
    """Where it stands, if a topic with history said so."""


class Moved(NamedTuple):
    """A topic with history said where its subscriber stands now."""

    at: float
    whole: bool
    epoch: str
    offset: int


Entry = Heard | Told | Came | Moved


@dataclass(slots=True)
class Published:
    """What a publisher knows of one of its streams."""

    topic: str
    stream: Stream
    begun: float
    attempted: int
    """Messages that were sent: 0 to this, exclusive."""
    confirmed: int
    """Messages that its node has answered for, from the first."""
    broken: bool = False
    """Whether the connection was lost. Where there is no history, nobody can say then what became of the last ones."""


@dataclass(slots=True)
class Log:
    """What one subscriber heard of one topic."""

    subscriber: str
    topic: str
    entries: Sequence[Entry]
    left: bool = False
    """Whether it was not there at the end."""


class Violation(NamedTuple):
    """A broken promise."""

    kind: Kind
    topic: str
    subscriber: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subscriber} in {self.topic}: {self.what}"


Slot = tuple[str, int]
"""An epoch and an offset."""
Name = tuple[Stream, int]
"""What makes a message this one and no other."""


class Checker:
    """Takes all streams, then log by log, and says in the end what was wrong.

    Args:
        with_history: the topics that have one.
        has_holes: whether the offsets of a topic may have holes.
    """

    def __init__(
        self, published: Iterable[Published], with_history: Iterable[str] = (), *, has_holes: bool = False
    ) -> None:
        self._streams: dict[str, dict[Stream, Published]] = {}
        for each in published:
            self._streams.setdefault(each.topic, {})[each.stream] = each
        self._kept = frozenset(with_history)
        self._has_holes = has_holes
        self._slots: dict[str, dict[Slot, Name]] = {}
        """Of each topic with history, what each position holds."""
        self._ends: list[tuple[Log, Slot | None]] = []
        """Where the logs of such topics end."""
        self._jumps: list[tuple[Log, str, int, int]] = []
        """Offsets of an epoch between which a subscriber has heard nothing."""
        self._found: list[Violation] = []
        self.deliveries = 0
        self.tellings = 0

    def add(self, log: Log) -> None:
        """Check one log."""
        self.deliveries += sum(isinstance(entry, Heard) for entry in log.entries)
        self.tellings += sum(_is_telling(entry) for entry in log.entries if not isinstance(entry, Came))
        self._check_names(log)
        self._check_streams(log, has_history=log.topic in self._kept)
        if log.topic in self._kept:
            self._check_positions(log)

    def violations(self) -> list[Violation]:
        """Everything that was found, with what only all logs together can tell."""
        return [*self._found, *self._check_jumps(), *self._check_ends()]

    # Of each log.

    def _check_names(self, log: Log) -> None:
        """Nothing that nobody said, and nothing twice."""
        streams = self._streams.get(log.topic, {})
        heard: set[Name] = set()
        for entry in log.entries:
            if not isinstance(entry, Heard):
                if isinstance(entry, Came) and log.topic not in self._kept:
                    heard.clear()
                continue
            known = streams.get(entry.stream)
            if known is None or not 0 <= entry.number < known.attempted:
                self._report("invented", log, f"{_named(*entry[:2])} was never published")
            if (entry.stream, entry.number) in heard:
                self._report("double", log, f"{_named(*entry[:2])} came twice")
            heard.add((entry.stream, entry.number))

    def _check_streams(self, log: Log, *, has_history: bool) -> None:
        """Each stream in its order, without a gap that nobody told of."""
        last: dict[Stream, int] = {}
        unbroken: set[Stream] = set()
        """Those of which all has to be heard since then: behind a telling there are none."""
        quiet_from = float("-inf")
        for entry in log.entries:
            if not isinstance(entry, Heard):
                if _is_telling(entry) and not (isinstance(entry, Came) and entry.whole and has_history):
                    unbroken.clear()
                    quiet_from = entry.at
                if isinstance(entry, Came) and not has_history:
                    last.clear()
                continue
            stream, number = entry.stream, entry.number
            before = last.get(stream)
            if before is None:
                if number > 0 and self._must_begin(log, stream, quiet_from):
                    self._report("untold gap", log, f"{_named(stream)} began with {number}")
            elif number < before:
                self._report("disorder", log, f"{_named(stream, number)} came after {before}")
            elif number > before + 1 and stream in unbroken:
                self._report("untold gap", log, f"{_named(stream, number)} came after {before}")
            last[stream] = max(number, last.get(stream, -1))
            unbroken.add(stream)
        if not log.left:
            self._check_tails(log, last, unbroken, quiet_from)

    def _must_begin(self, log: Log, stream: Stream, quiet_from: float) -> bool:
        """Whether the subscriber was there before the stream began."""
        known = self._streams.get(log.topic, {}).get(stream)
        return known is not None and known.begun > quiet_from + GRACE

    def _check_tails(self, log: Log, last: dict[Stream, int], unbroken: set[Stream], quiet_from: float) -> None:
        """What was confirmed has arrived, if nothing has happened since."""
        has_history = log.topic in self._kept
        for stream, known in self._streams.get(log.topic, {}).items():
            if not has_history and (known.broken or stream.publisher == log.subscriber):
                continue
            is_due = stream in unbroken if stream in last else self._must_begin(log, stream, quiet_from)
            missing = known.confirmed - 1 - last.get(stream, -1)
            if is_due and missing > 0:
                self._report("loss", log, f"{missing} of {_named(stream)} at the end, up to {known.confirmed - 1}")

    def _check_positions(self, log: Log) -> None:
        """Positions count on, and are the same for everybody."""
        slots = self._slots.setdefault(log.topic, {})
        last: Slot | None = None
        for entry in log.entries:
            if isinstance(entry, Heard):
                self._check_slot(log, slots, entry)
                self._check_step(log, last, entry)
                last = (entry.epoch, entry.offset)
            elif isinstance(entry, Moved):
                last = (entry.epoch, entry.offset)
            elif isinstance(entry, Told) or not entry.whole:
                last = (entry.epoch, entry.offset) if isinstance(entry, Came) and entry.epoch else None
        if not log.left:
            self._ends.append((log, last))

    def _check_slot(self, log: Log, slots: dict[Slot, Name], entry: Heard) -> None:
        name = (entry.stream, entry.number)
        there = slots.setdefault((entry.epoch, entry.offset), name)
        if there != name:
            slot = f"{entry.epoch}:{entry.offset}"
            self._report("disorder", log, f"{_named(*name)} is at {slot}, where others heard {_named(*there)}")

    def _check_step(self, log: Log, last: Slot | None, entry: Heard) -> None:
        if last is None:
            return
        epoch, offset = last
        # An epoch that is new is heard from its beginning.
        before = offset if epoch == entry.epoch else 0
        if entry.offset <= before:
            self._report("disorder", log, f"{entry.epoch}:{entry.offset} came after {epoch}:{offset}")
        elif entry.offset > before + 1 and self._has_holes:
            self._jumps.append((log, entry.epoch, before, entry.offset))
        elif entry.offset > before + 1:
            self._report("untold gap", log, f"{entry.epoch}:{entry.offset} came after {epoch}:{offset}")

    # Of all logs together.

    def _check_jumps(self) -> Iterator[Violation]:
        """Nobody has heard what was jumped over."""
        for log, epoch, before, after in self._jumps:
            slots = self._slots[log.topic]
            missed = [offset for offset in range(before + 1, after) if (epoch, offset) in slots]
            if missed:
                what = f"{epoch}:{after} came after {before}, and others heard {missed[0]}"
                yield Violation("untold gap", log.topic, log.subscriber, what)

    def _check_ends(self) -> Iterator[Violation]:
        """All who are there have heard what anybody has."""
        for topic in sorted(self._kept):
            ends = [(log, last) for log, last in self._ends if log.topic == topic and last is not None]
            if not ends:
                continue
            current = Counter(epoch for _, (epoch, _) in ends).most_common(1)[0][0]
            newest = max((offset for epoch, offset in self._slots[topic] if epoch == current), default=0)
            for log, last in ends:
                if last[0] != current or last[1] < newest:
                    what = f"it ends at {last[0]}:{last[1]}, others at {current}:{newest}"
                    yield Violation("loss", topic, log.subscriber, what)

    def _report(self, kind: Kind, log: Log, what: str) -> None:
        self._found.append(Violation(kind, log.topic, log.subscriber, what))


def _is_telling(entry: Entry) -> bool:
    return isinstance(entry, (Told, Came)) or (isinstance(entry, Moved) and not entry.whole)


def _named(stream: Stream, number: int | None = None) -> str:
    return f"{stream.publisher}/{stream.session}" + ("" if number is None else f" number {number}")


def check(
    published: Iterable[Published], logs: Iterable[Log], with_history: Iterable[str] = (), *, has_holes: bool = False
) -> list[Violation]:
    """Check everything at once."""
    checker = Checker(published, with_history, has_holes=has_holes)
    for log in logs:
        checker.add(log)
    return checker.violations()
