"""Who is asked for a sign of life and who is gone, by a clock that the test turns."""

from __future__ import annotations

from typing import Any

import pytest

from crosspeer import Heartbeat, Hub, Limits
from crosspeer.core.heartbeat import BATCH, LOOKS, Pulses, as_heartbeat


class Clock:
    """Looks whenever it is due, and remembers what came of it."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.pulses: Pulses[Any] = Pulses(heartbeat)
        self.now = 100.0
        self.looks = 0
        self.asked: list[tuple[float, Any]] = []
        self.gone: list[tuple[float, Any]] = []

    def run(self, seconds: float, *, answers: Any = ()) -> None:
        """Let time pass. Whoever is among `answers` answers at once when it is asked."""
        end = self.now + seconds
        while (due := self.pulses.due(self.now)) is not None and due <= end:
            self.now = due
            self.look(answers)
        self.now = end

    def stand_still(self, seconds: float) -> None:
        """Let time pass while nothing can look, and look afterwards if it was due."""
        due = self.pulses.due(self.now)
        self.now += seconds
        if due is not None and due <= self.now:
            self.look(())

    def look(self, answers: Any) -> None:
        self.looks += 1
        to_ask, gone = self.pulses.look(self.now)
        self.asked += [(self.now, member) for member in to_ask]
        self.gone += [(self.now, member) for member in gone]
        for member in to_ask:
            if member in answers:
                self.pulses.heard(member, self.now)

    def heard(self, member: Any) -> None:
        self.pulses.heard(member, self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock(Heartbeat(interval=20, timeout=10))


def test_a_silent_member_is_asked_after_the_interval_and_gone_after_the_timeout(clock: Clock) -> None:
    clock.pulses.add("a", clock.now)
    clock.run(19.9)
    assert clock.asked == []
    clock.run(0.1)
    assert clock.asked == [(120.0, "a")]
    clock.run(9.9)
    assert clock.gone == []
    clock.run(0.5)
    [(when, member)] = clock.gone
    assert member == "a"
    assert 130 <= when < 130.5
    assert len(clock.pulses) == 0
    assert clock.pulses.due(clock.now) is None


def test_any_sign_of_life_starts_anew(clock: Clock) -> None:
    clock.pulses.add("a", clock.now)
    clock.run(15)
    clock.heard("a")
    clock.run(19)
    assert clock.asked == []
    clock.run(10)
    assert len(clock.asked) == 1
    clock.heard("a")
    clock.run(19)
    assert len(clock.asked) == 1
    assert clock.gone == []


def test_an_answer_can_make_the_next_look_due_earlier() -> None:
    """A long time for the answer does not hold the next question up."""
    clock = Clock(Heartbeat(interval=1, timeout=60))
    assert clock.pulses.add("a", clock.now)
    assert not clock.pulses.add("b", clock.now + 0.5)
    clock.run(1.5)
    assert [member for _, member in clock.asked] == ["a", "b"]
    assert clock.pulses.heard("a", clock.now)
    assert not clock.pulses.heard("a", clock.now)
    clock.run(1.1)
    assert [member for _, member in clock.asked] == ["a", "b", "a"]


def test_who_answers_stays_however_long(clock: Clock) -> None:
    clock.pulses.add("answers", clock.now)
    clock.pulses.add("does not", clock.now)
    clock.run(3600, answers=["answers"])
    assert [member for _, member in clock.gone] == ["does not"]
    assert sum(member == "answers" for _, member in clock.asked) == 180


def test_an_answer_in_the_last_moment_counts(clock: Clock) -> None:
    """The time is over, and the answer has arrived but was not read yet."""
    clock.pulses.add("a", clock.now)
    clock.run(20)
    while (due := clock.pulses.due(clock.now)) is not None and due < 130.01:
        clock.now = due
        clock.look(())
    clock.heard("a")
    clock.run(5)
    assert clock.gone == []


@pytest.mark.parametrize("length", [5.0, 11.0, 60.0])
@pytest.mark.parametrize("before", [10.0, 20.0, 25.0, 29.0])
def test_a_loop_that_stood_still_kills_nobody(clock: Clock, before: float, length: float) -> None:
    clock.pulses.add("a", clock.now)
    clock.run(before)
    clock.stand_still(length)
    for _ in range(LOOKS):
        # The loop turns again, and reads a little later.
        clock.run(0.05)
    assert clock.gone == []
    clock.heard("a")
    clock.run(15)
    assert clock.gone == []


def test_after_a_standstill_a_member_has_its_time_again(clock: Clock) -> None:
    clock.pulses.add("a", clock.now)
    clock.run(20)
    clock.stand_still(12)
    clock.run(9)
    assert clock.gone == []
    clock.run(2)
    assert len(clock.gone) == 1


def test_who_has_left_is_forgotten(clock: Clock) -> None:
    clock.pulses.add("a", clock.now)
    clock.pulses.add("b", clock.now)
    clock.run(20)
    clock.pulses.discard("a")
    clock.pulses.discard("b")
    clock.pulses.discard("b")
    clock.heard("a")
    assert len(clock.pulses) == 0
    assert clock.pulses.due(clock.now) is None


def test_ten_thousand_quiet_members_cost_nothing_between_their_beats(clock: Clock) -> None:
    members = range(10_000)
    for number in members:
        clock.now = 100 + number / 1000
        clock.pulses.add(number, clock.now)
    clock.run(9.9)
    assert clock.looks == 0
    clock.run(200, answers=members)
    assert clock.gone == []
    assert 9 * 10_000 <= len(clock.asked) <= 12 * 10_000
    # Each look has a whole batch to ask, or comes a sixteenth of the interval after the one before.
    assert clock.looks <= len(clock.asked) / BATCH + 210 / 20 * 16 + 1


def test_a_look_asks_a_batch_and_the_next_follows_at_once(clock: Clock) -> None:
    for number in range(BATCH + 1):
        clock.pulses.add(number, clock.now)
    clock.run(20)
    assert clock.looks == 2
    assert len(clock.asked) == BATCH + 1


def test_many_that_are_gone_are_given_up_in_batches(clock: Clock) -> None:
    for number in range(3 * BATCH):
        clock.pulses.add(number, clock.now)
    clock.run(20)
    most = 0
    while len(clock.gone) < 3 * BATCH:
        before = len(clock.gone)
        clock.run(0.05)
        most = max(most, len(clock.gone) - before)
    assert most <= BATCH
    assert clock.now < 132


@pytest.mark.parametrize(
    ("value", "heartbeat"),
    [
        (None, None),
        (False, None),
        (True, Heartbeat(interval=20.0, timeout=10.0, message="crosspeer:ping", reply="crosspeer:pong")),
        (5, Heartbeat(interval=5)),
        (0.5, Heartbeat(interval=0.5)),
        (Heartbeat(timeout=3), Heartbeat(timeout=3)),
    ],
)
def test_the_forms_of_a_heartbeat(value: Any, heartbeat: Heartbeat | None) -> None:
    assert as_heartbeat(value) == heartbeat
    assert Hub(heartbeat=value).heartbeat == heartbeat


@pytest.mark.parametrize("value", ["20", 0, -1, float("nan"), object()])
def test_what_is_no_heartbeat_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Hub(heartbeat=value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interval", 0),
        ("timeout", -1),
        ("timeout", True),
        ("timeout", "1"),
        ("message", ""),
        ("message", b"ping"),
        ("reply", None),
    ],
)
def test_what_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=field):
        Heartbeat(**{field: value})


def test_engines_with_pings_of_their_own_find_its_times_in_the_limits() -> None:
    limits = Limits(ping_interval=None, max_topics=3)
    hub = Hub(limits=limits, heartbeat=Heartbeat(interval=2, timeout=1))
    assert (hub.limits.ping_interval, hub.limits.ping_timeout, hub.limits.max_topics) == (2, 1, 3)
    assert limits.ping_interval is None
    assert Hub(limits=limits).limits is limits
