"""Logs: what is kept, what is told of a gap, and what a client may ask for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer import History, Hub, Position
from crosspeer.core.history import MAX_LOGS, Histories
from crosspeer.core.outgoing import Outgoing


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def texts(items: list[Outgoing] | None) -> list[str] | None:
    return None if items is None else [str(item.data) for item in items]


def position(histories: Histories, topic: str = "t") -> Position:
    log = histories.log("/", topic)
    assert log is not None
    return log.position


def test_what_was_missed_comes_in_order_and_once() -> None:
    histories = Histories({"t": History()})
    start = position(histories)
    for text in "abc":
        histories.record("/", "t", Outgoing(text))
    middle = position(histories)
    histories.record("/", "t", Outgoing("d"))
    assert texts(histories.since("/", "t", start)) == ["a", "b", "c", "d"]
    assert texts(histories.since("/", "t", middle)) == ["d"]
    assert texts(histories.since("/", "t", position(histories))) == []


@pytest.mark.parametrize(
    "kept", [History(size=3), History(seconds=3), History(bytes=30)], ids=["size", "seconds", "bytes"]
)
def test_what_is_no_longer_kept_is_a_gap(kept: History) -> None:
    clock = Clock()
    histories = Histories({"t": kept}, clock)
    positions = [position(histories)]
    for number in range(10):
        clock.now += 1
        histories.record("/", "t", Outgoing(f"{number:010}"))
        positions.append(position(histories))
    recovered = [histories.since("/", "t", at) is not None for at in positions]
    assert recovered[:6] == [False] * 6
    assert recovered[-3:] == [True] * 3
    clock.now += 100
    assert (histories.since("/", "t", positions[-2]) is None) is (kept.seconds == 3)
    assert histories.since("/", "t", positions[-1]) == [], "who has missed nothing is recovered from nothing"


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 60))
def test_all_or_nothing(size: int, before: int, after: int) -> None:
    histories = Histories({"*": History(size=size)})
    for number in range(before):
        histories.record("/", "t", Outgoing(f"b{number}"))
    here = position(histories)
    for number in range(after):
        histories.record("/", "t", Outgoing(f"a{number}"))
    missed = histories.since("/", "t", here)
    assert texts(missed) == ([f"a{number}" for number in range(after)] if after <= size else None)


def test_a_log_that_was_begun_anew_is_another_one() -> None:
    histories = Histories({"*": History()})
    histories.record("/", "first", Outgoing("a"))
    old = position(histories, "first")
    for number in range(MAX_LOGS):
        histories.record("/", f"t{number}", Outgoing("x"))
    assert histories.namespaces("t0") == ["/"]
    assert histories.namespaces("first") == []
    histories.record("/", "first", Outgoing("b"))
    assert position(histories, "first").offset == old.offset
    assert histories.since("/", "first", old) is None


def test_a_position_in_the_future_or_of_another_topic_recovers_nothing() -> None:
    histories = Histories({"*": History()})
    here = position(histories)
    assert histories.since("/", "t", Position(here.epoch, 1)) is None
    assert histories.since("/", "t", Position(here.epoch, -1)) is None
    assert histories.since("/", "other", here) is None
    assert histories.since("/elsewhere", "t", here) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "0:0", "g" * 16 + ":1", "0" * 16, "0" * 16 + ":", "0" * 16 + ":-1", "0" * 16 + ":01", "0" * 16 + ":1e9",
     "0" * 16 + ":99999999999999999999", "0" * 1_000_000, "0" * 16 + ":1\n", "0" * 16 + ":\u0661", None, 5, b"0:0"],
)  # fmt: skip
def test_absurd_positions_are_none(text: object) -> None:
    assert Position.parse(text) is None


def test_a_position_survives_its_text() -> None:
    for at in (Position("0123456789abcdef", 0), Position("f" * 16, 10**18)):
        assert Position.parse(str(at)) == at


def test_tagged_messages_say_where_they_stand() -> None:
    histories = Histories({"t": History(tagged=True)})
    text, binary = histories.record("/", "t", Outgoing("hé")), histories.record("/", "t", Outgoing(b"\x00\xff"))
    epoch = position(histories).epoch
    assert json.loads(str(text.data)) == {"topic": "t", "position": f"{epoch}:1", "data": "hé"}
    assert json.loads(str(binary.data)) == {"topic": "t", "position": f"{epoch}:2", "binary": True, "data": "AP8="}


def test_the_first_pattern_that_matches_counts() -> None:
    hub = Hub(history={"chat/*": History(size=1), "*": History(size=2)})
    assert hub.history is not None
    assert hub.history.rule("chat/1") == ("chat/*", History(size=1))
    assert hub.history.rule("other") == ("*", History(size=2))
    assert not Histories({"chat/*": History()}).keeps("other")


@pytest.mark.parametrize("wrong", [{"size": 0}, {"seconds": -1}, {"bytes": 0}], ids=str)
def test_a_history_keeps_something(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        History(**wrong)
