"""What clients say about where they stand, and how it goes over the wire (row P9)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer import Position
from crosspeer.core.positions import MAX_POSITIONS, positions_of, read, write

EPOCH = "0123456789abcdef"


def request(said: str = "", last_event_id: str | None = None) -> Any:
    headers = {} if last_event_id is None else {"last-event-id": last_event_id}
    return SimpleNamespace(query_params={"crosspeer-positions": said}, headers=headers)


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.integers(0, 10**18), max_size=20))
def test_what_is_written_is_read_again(offsets: dict[str, int]) -> None:
    positions = {topic: Position(EPOCH, offset) for topic, offset in offsets.items()}
    assert read(write(positions)) == positions


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "&",
        "a=",
        "a=b",
        "=" * 100,
        f"a={EPOCH}:-1",
        f"a={EPOCH}:99999999999999999999",
        "%ff=%00",
        "a" * 100_000,
    ],
)
def test_nonsense_is_no_position(text: str) -> None:
    assert read(text) == {}
    assert positions_of(request(text, f"key.1;{text}")) == {}


def test_too_many_are_none() -> None:
    many = {str(number): Position(EPOCH, number) for number in range(MAX_POSITIONS + 1)}
    assert write(many) == ""
    assert read(urlencode(many)) == {}


def test_a_url_and_a_last_event_id_say_it() -> None:
    here, there = Position(EPOCH, 1), Position(EPOCH, 2)
    assert positions_of(request(f"chat%2F1={quote(str(here))}")) == {"chat/1": here}
    assert positions_of(request("", f"{'k' * 22}.7;a={there}")) == {"a": there}
    assert positions_of(request(f"a={here}", f";a={there}")) == {"a": there}
    assert positions_of(request("", "closed")) == {}
