"""The heartbeat of peers whose server has none: whom to ask for a sign of life, and who has given none.

Time comes in as an argument, so whoever has a clock drives this, and a test needs none.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

M = TypeVar("M", bound=Hashable)

BATCH: Final = 200
"""Members that one look asks or gives up. The next follows soon, so that thousands do not hold the loop up."""
LOOKS: Final = 4
"""Looks at a member whose time is over before it counts as gone: between two of them what has arrived is read."""
PAUSE: Final = 0.05
"""Seconds between two of these looks."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How a hub finds out that a peer is gone which did not say so. Times are seconds.

    Raises:
        TypeError: `message` or `reply` is no string.
        ValueError: a time is not positive, or `message` or `reply` is empty.
    """

    interval: float = 20.0
    """Silence after which a peer is asked for a sign of life: by a ping, or by `message` on servers without pings."""
    timeout: float = 10.0
    """Time for that sign. Whatever comes is one; a peer that sends nothing is gone."""
    message: str = "crosspeer:ping"
    """The text that asks there."""
    reply: str = "crosspeer:pong"
    """The text that a client answers it with. No hook sees it."""

    def __post_init__(self) -> None:
        for name in ("interval", "timeout"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
                raise ValueError(f"{name} is a positive number of seconds, not {value!r}")
        for name in ("message", "reply"):
            text = getattr(self, name)
            if not isinstance(text, str):
                raise TypeError(f"{name} is a text, not {type(text).__name__}")
            if not text:
                raise ValueError(f"{name} is a text that is not empty")


HeartbeatLike = Heartbeat | float | bool | None
"""True: the default one. A number: its interval. None: no heartbeat beside what the server has."""


def as_heartbeat(value: HeartbeatLike) -> Heartbeat | None:
    """Take a heartbeat in any of its forms.

    Raises:
        TypeError, ValueError: it is none, or not a possible one.
    """
    if value is None or value is False:
        return None
    if value is True:
        return Heartbeat()
    if isinstance(value, Heartbeat):
        return value
    if isinstance(value, (int, float)):
        return Heartbeat(interval=value)
    raise TypeError(f"heartbeat is a Heartbeat, seconds, True or None, not {type(value).__name__}")


class Pulse(Protocol):
    """What a session tells of a peer that is watched in this way."""

    def heard(self) -> None:
        """A frame came that is no message."""
        ...

    def is_answer(self, data: bytes) -> bool:
        """Whether this pong is for the heartbeat, and not for the application."""
        ...


class Pulses(Generic[M]):
    """Who was heard when, in that order: a look costs what there is to do, however many members are quiet."""

    __slots__ = ("_asked", "_due", "_interval", "_patience", "_quiet", "_slack", "_tick", "_timeout")

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._interval = heartbeat.interval
        self._timeout = heartbeat.timeout
        self._slack = heartbeat.interval / 16
        self._tick = heartbeat.timeout / 4
        self._patience = max(heartbeat.timeout / 16, PAUSE)
        self._quiet: dict[M, float] = {}
        """Who is not asked: since when it is silent."""
        self._asked: dict[M, tuple[float, int]] = {}
        """Who is asked: since when, and how many looks it has had beyond its time."""
        self._due = 0.0

    def add(self, member: M, now: float) -> bool:
        """Watch a member from now on. True: `due` is earlier than it was."""
        self._quiet[member] = now
        return now + self._interval < self._due or len(self) == 1

    def discard(self, member: M) -> None:
        self._quiet.pop(member, None)
        self._asked.pop(member, None)

    def heard(self, member: M, now: float) -> bool:
        """A member gave a sign of life. True: `due` is earlier than it was. One that is not watched stays so."""
        if self._quiet.pop(member, None) is not None:
            self._quiet[member] = now
            return False
        return self._asked.pop(member, None) is not None and self.add(member, now)

    def due(self, now: float) -> float | None:
        """When to look next, at the earliest; None while there is nobody."""
        times = [*self._next_to_ask(), *self._next_to_judge(now)]
        if not times:
            return None
        self._due = max(now, min(times))
        return self._due

    def look(self, now: float) -> tuple[list[M], list[M]]:
        """Who is to be asked for a sign of life now, and who is gone. To be called when `due` has said.

        MUST be followed by turns of the loop before the next look, so that it reads what has arrived.
        """
        if now - self._due > self._patience:
            # We were held up: nothing of what they sent was read, and our question may not have left.
            self._asked = dict.fromkeys(self._asked, (now, 0))
        gone = self._judge(now)
        return self._choose(now), gone

    def __len__(self) -> int:
        return len(self._quiet) + len(self._asked)

    # Inside.

    def _next_to_ask(self) -> Iterator[float]:
        for since in self._quiet.values():
            yield since + self._interval
            return

    def _next_to_judge(self, now: float) -> Iterator[float]:
        for since, _looks in self._asked.values():
            end = since + self._timeout
            # Looked at meanwhile, too: only that tells whether the loop stood still.
            yield min(end, now + self._tick) if end > now else now + min(PAUSE, self._timeout / 8)
            return

    def _choose(self, now: float) -> list[M]:
        chosen: list[M] = []
        for member, since in self._quiet.items():
            # A little early, so that many who are due one after the other cost one look.
            if since + self._interval - self._slack > now or len(chosen) == BATCH:
                break
            chosen.append(member)
        for member in chosen:
            del self._quiet[member]
            self._asked[member] = (now, 0)
        return chosen

    def _judge(self, now: float) -> list[M]:
        gone: list[M] = []
        for member, (since, looks) in self._asked.items():
            if since + self._timeout > now or len(gone) == BATCH:
                break
            if looks < LOOKS:
                self._asked[member] = (since, looks + 1)
            else:
                gone.append(member)
        for member in gone:
            del self._asked[member]
        return gone
