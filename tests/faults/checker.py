"""The history checker: what every subscriber of a fleet heard, held against what was published.

It knows nothing of nodes, sockets or clocks. A *stream* is what one publisher said to one topic over one connection,
numbered from 0. A *log* is what one subscriber heard of one topic, over all of its connections, and when it was told
that something may be missing. Two promises are checked:

- of a topic **without history**: at most once, in the order of each stream, and a gap within a stream only behind a
  telling or a new connection;
- of a topic **with history**: the same positions hold the same messages for everybody, without a gap but behind a
  telling, whatever became of the connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
    """A new connection. `whole`: it was said that nothing is missing (`recovered`)."""

    at: float
    whole: bool = False


Entry = Heard | Told | Came


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
    """Whether the connection was lost, so that nobody can say what became of the last ones."""
    doubts: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of numbers that were sent around an outage that the publisher was told of."""

    def is_in_doubt(self, number: int) -> bool:
        return any(first <= number < end for first, end in self.doubts)


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
    """Takes all streams, then log by log, and says in the end what was wrong."""

    def __init__(self, published: Iterable[Published], with_history: Iterable[str] = ()) -> None:
        self._streams: dict[str, dict[Stream, Published]] = {}
        for each in published:
            self._streams.setdefault(each.topic, {})[each.stream] = each
        self._kept = frozenset(with_history)
        self._slots: dict[str, dict[Slot, Name]] = {}
        """Of each topic with history, what each position holds."""
        self._ends: list[tuple[Log, Heard | None]] = []
        """Of logs of such topics, the last that was heard and not followed by a telling."""
        self._found: list[Violation] = []
        self.deliveries = 0
        self.tellings = 0

    def add(self, log: Log) -> None:
        """Check one log."""
        self.deliveries += sum(isinstance(entry, Heard) for entry in log.entries)
        self.tellings += sum(isinstance(entry, Told) for entry in log.entries)
        self._check_names(log)
        if log.topic in self._kept:
            self._check_positions(log)
        else:
            self._check_streams(log)

    def violations(self) -> list[Violation]:
        """Everything that was found, with what only all logs together can tell."""
        return [*self._found, *self._check_slots(), *self._check_ends()]

    # Of each log.

    def _check_names(self, log: Log) -> None:
        """Nothing that nobody said, and nothing twice, whatever happened."""
        streams = self._streams.get(log.topic, {})
        heard: set[Name] = set()
        for entry in log.entries:
            if not isinstance(entry, Heard):
                continue
            known = streams.get(entry.stream)
            if known is None or not 0 <= entry.number < known.attempted:
                self._report("invented", log, f"{_name(entry)} was never published")
            if (entry.stream, entry.number) in heard:
                self._report("double", log, f"{_name(entry)} came twice")
            heard.add((entry.stream, entry.number))

    def _check_streams(self, log: Log) -> None:
        """A topic without history: each stream in its order, without a gap that nobody told of."""
        last: dict[Stream, int] = {}
        since: dict[Stream, bool] = {}
        """Whether all of this stream has been heard since: False behind a telling or a new connection."""
        quiet_from = float("-inf")
        for entry in log.entries:
            if not isinstance(entry, Heard):
                since.clear()
                quiet_from = entry.at
                continue
            stream, number = entry.stream, entry.number
            before = last.get(stream)
            if before is None and self._must_begin(log, stream, quiet_from) and number > 0:
                self._report("untold gap", log, f"{stream} began with {number}")
            elif before is not None and number < before:
                self._report("disorder", log, f"{_name(entry)} came after {before}")
            elif before is not None and number > before + 1 and since.get(stream, False):
                self._gap(log, stream, before, number)
            last[stream] = max(number, last.get(stream, -1))
            since[stream] = True
        if not log.left:
            self._check_tails(log, last, since, quiet_from)

    def _gap(self, log: Log, stream: Stream, before: int, number: int) -> None:
        known = self._streams.get(log.topic, {}).get(stream)
        if known is None or not all(known.is_in_doubt(missing) for missing in range(before + 1, number)):
            self._report("untold gap", log, f"{stream}: {number} came after {before}")

    def _must_begin(self, log: Log, stream: Stream, quiet_from: float) -> bool:
        """Whether the subscriber was there before the stream began."""
        known = self._streams.get(log.topic, {}).get(stream)
        return known is not None and stream.publisher != log.subscriber and known.begun > quiet_from + GRACE

    def _check_tails(self, log: Log, last: dict[Stream, int], since: dict[Stream, bool], quiet_from: float) -> None:
        """What was confirmed has arrived, if nothing has happened since."""
        for stream, known in self._streams.get(log.topic, {}).items():
            if known.broken or stream.publisher == log.subscriber or not known.confirmed:
                continue
            if stream in last and not since.get(stream, False):
                continue
            if stream not in last and not self._must_begin(log, stream, quiet_from):
                continue
            missing = range(last.get(stream, -1) + 1, known.confirmed)
            if not all(map(known.is_in_doubt, missing)):
                self._report("loss", log, f"{stream}: {len(missing)} at the end, from {missing[0]} on")

    def _check_positions(self, log: Log) -> None:
        """A topic with history: positions that count on."""
        slots = self._slots.setdefault(log.topic, {})
        last: Heard | None = None
        told = True
        for entry in log.entries:
            if isinstance(entry, Came):
                told = told or not entry.whole
            elif isinstance(entry, Told):
                told = True
            else:
                self._check_slot(log, slots, entry)
                if last is not None:
                    self._check_step(log, last, entry, told)
                last, told = entry, False
        if not log.left:
            self._ends.append((log, None if told else last))

    def _check_slot(self, log: Log, slots: dict[Slot, Name], entry: Heard) -> None:
        name = (entry.stream, entry.number)
        there = slots.setdefault((entry.epoch, entry.offset), name)
        if there != name:
            self._report("disorder", log, f"{_name(entry)} is at {entry.offset}, where others heard {there}")

    def _check_step(self, log: Log, last: Heard, entry: Heard, told: bool) -> None:
        if entry.epoch == last.epoch and entry.offset <= last.offset:
            self._report("disorder", log, f"offset {entry.offset} came after {last.offset}")
        elif not told and (entry.epoch != last.epoch or entry.offset != last.offset + 1):
            self._report("untold gap", log, f"{entry.epoch}:{entry.offset} came after {last.epoch}:{last.offset}")

    # Of all logs together.

    def _check_slots(self) -> Iterator[Violation]:
        """What the positions of a topic hold: every stream in order, and all of it that was confirmed."""
        for topic in sorted(self._kept):
            present: dict[Stream, set[int]] = {}
            last: dict[tuple[str, Stream], int] = {}
            for (epoch, _), (stream, number) in sorted(self._slots.get(topic, {}).items(), key=lambda item: item[0]):
                before = last.get((epoch, stream), -1)
                if number < before:
                    yield Violation("disorder", topic, "all", f"{stream}: {number} is kept after {before}")
                last[epoch, stream] = number
                present.setdefault(stream, set()).add(number)
            for stream, known in self._streams.get(topic, {}).items():
                missing = [n for n in range(known.confirmed) if n not in present.get(stream, ())]
                missing = [number for number in missing if not known.is_in_doubt(number)]
                if missing:
                    yield Violation("loss", topic, "all", f"{stream}: {len(missing)} were confirmed: {missing[:5]}")

    def _check_ends(self) -> Iterator[Violation]:
        """Whoever is there has everything that anybody has."""
        for topic in sorted(self._kept):
            ends = [(log, last) for log, last in self._ends if log.topic == topic]
            epochs = Counter(last.epoch for _, last in ends if last is not None)
            if not epochs:
                continue
            current = epochs.most_common(1)[0][0]
            newest = max(offset for epoch, offset in self._slots[topic] if epoch == current)
            for log, last in ends:
                if last is not None and (last.epoch, last.offset) != (current, newest):
                    what = f"it ends at {last.epoch}:{last.offset}, others at {current}:{newest}"
                    yield Violation("loss", topic, log.subscriber, what)

    def _report(self, kind: Kind, log: Log, what: str) -> None:
        self._found.append(Violation(kind, log.topic, log.subscriber, what))


def _name(entry: Heard) -> str:
    return f"{entry.stream.publisher}/{entry.stream.session} number {entry.number}"


def check(published: Iterable[Published], logs: Iterable[Log], with_history: Iterable[str] = ()) -> list[Violation]:
    """Check everything at once."""
    checker = Checker(published, with_history)
    for log in logs:
        checker.add(log)
    return checker.violations()
