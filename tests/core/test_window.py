"""The window of what was sent: numbered, bounded, and honest about what is gone."""

from __future__ import annotations

import pytest

from crosspeer.core.window import Window


def test_what_came_after_a_number() -> None:
    window: Window[str] = Window(3, 100)
    assert window.since(0) == []
    assert [window.add(item, 1) for item in "abcde"] == [1, 2, 3, 4, 5]
    assert window.since(5) == []
    assert window.since(3) == [(4, "d"), (5, "e")]
    assert window.since(2) == [(3, "c"), (4, "d"), (5, "e")]
    assert len(window) == 3


@pytest.mark.parametrize("number", [1, 0, -1, -10, 6, 10**20])
def test_what_is_gone_or_never_was(number: int) -> None:
    window: Window[str] = Window(3, 100)
    for item in "abcde":
        window.add(item, 1)
    assert window.since(number) is None


def test_the_bytes_are_bounded_and_the_newest_stays() -> None:
    window: Window[str] = Window(100, 10)
    for item, size in (("a", 6), ("b", 4), ("c", 1)):
        window.add(item, size)
    assert window.since(1) == [(2, "b"), (3, "c")]
    assert window.since(0) is None
    window.add("huge", 1000)
    assert window.since(3) == [(4, "huge")]
    assert window.since(2) is None
