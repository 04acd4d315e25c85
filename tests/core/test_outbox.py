from __future__ import annotations

from typing import Any

import pytest

from crosspeer import Limits
from crosspeer.core.outbox import Outbox
from crosspeer.core.outgoing import Outgoing


def outbox(policy: Any) -> Outbox:
    return Outbox(Limits(max_queue_size=10, overflow=policy))


def contents(box: Outbox) -> list[str]:
    left = []
    while (item := box.pop()) is not None:
        left.append(str(item.data))
    return left


def push(box: Outbox, *texts: str, taken: int = 0) -> list[bool]:
    return [box.push(Outgoing(text), taken) for text in texts]


@pytest.mark.parametrize(
    ("policy", "fits", "left", "dropped"),
    [
        ("close", [True, True, False, True], ["aaaa", "bbbb", "dd"], 0),
        ("drop_newest", [True, True, True, True], ["aaaa", "bbbb", "dd"], 1),
        ("drop_oldest", [True, True, True, True], ["bbbb", "cccc", "dd"], 1),
    ],
)
def test_what_does_not_fit(policy: str, fits: list[bool], left: list[str], dropped: int) -> None:
    box = outbox(policy)
    assert push(box, "aaaa", "bbbb", "cccc", "dd") == fits
    assert box.size == 10
    assert contents(box) == left
    assert box.dropped == dropped
    assert box.size == 0


def test_a_message_larger_than_the_queue_passes_an_empty_one() -> None:
    box = outbox("close")
    assert push(box, "x" * 50, "y") == [True, False]
    assert contents(box) == ["x" * 50]
    assert push(box, "x" * 50, taken=1) == [False]


@pytest.mark.parametrize(("policy", "left", "dropped"), [("drop_oldest", ["cc"], 2), ("drop_newest", ["a"], 2)])
def test_what_the_connection_has_taken_counts(policy: str, left: list[str], dropped: int) -> None:
    box = outbox(policy)
    push(box, "a", "bb", "cc", taken=9)
    assert contents(box) == left
    assert box.dropped == dropped


def test_the_newest_stays_where_the_oldest_are_dropped() -> None:
    """However much the connection has taken: the latest state of something is what a slow reader needs."""
    box = outbox("drop_oldest")
    push(box, "a", "b", "c" * 11, taken=100)
    assert contents(box) == ["b"]
    assert box.dropped == 2


def test_clear() -> None:
    box = outbox("close")
    push(box, "a", "b")
    box.clear()
    assert (len(box), box.size, box.pop()) == (0, 0, None)
