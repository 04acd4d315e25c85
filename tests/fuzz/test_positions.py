"""Where a client says that it stands, and how deep its JSON goes: whatever it says, something of ours or nothing."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer import InvalidMessage
from crosspeer.core.history import Position
from crosspeer.core.message import Message
from crosspeer.core.positions import MAX_POSITIONS, read, write
from crosspeer.wire import nesting
from crosspeer.wire.nesting import MAX_DEPTH
from crosspeer.wire.streamed import read_position

PIECES = st.sampled_from(
    [
        "0123456789abcdef",
        "A" * 22,
        ":",
        ".",
        "0",
        "1",
        "01",
        "9" * 16,
        "9" * 5000,
        "-1",
        "٣",
        "²",
        "&",
        "=",
        "%00",
        "%",
        "+",
        "\n",
    ]
)
TEXTS = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=40)
POSITIONS = st.dictionaries(
    st.text(min_size=1, max_size=10),
    st.builds(Position, st.just("0123456789abcdef"), st.integers(0, 2**50)),
    max_size=4,
)


@given(TEXTS)
def test_a_position_is_itself_or_none(text: str) -> None:
    found = Position.parse(text)
    assert found is None or (str(found) == text and found.offset >= 0)


@given(TEXTS)
def test_an_event_id_is_itself_or_none(text: str) -> None:
    found = read_position(text)
    assert found is None or f"{found[0]}.{found[1]}" == text


@given(TEXTS | st.lists(TEXTS, max_size=4).map("&".join))
def test_positions_of_a_request_are_some_or_none(text: str) -> None:
    found = read(text)
    assert len(found) <= MAX_POSITIONS
    assert all(isinstance(position, Position) for position in found.values())


@given(POSITIONS)
def test_positions_come_back(positions: dict[str, Position]) -> None:
    assert read(write(positions)) == positions


def depth(value: Any) -> int:
    """The same by a walk."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


NESTED = st.recursive(
    st.text(st.sampled_from('[]{}"\\a'), max_size=6) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\a', max_size=3), inner, max_size=3),
    max_leaves=60,
)


@given(NESTED, st.integers(0, 120), st.integers(1, 80))
def test_the_depth_of_json_is_that_of_its_value(value: Any, more: int, block: int) -> None:
    for _ in range(more):
        value = [value]
    text = json.dumps(value)
    with mock.patch.object(nesting, "_BLOCK", block):
        assert nesting.is_too_deep(text.encode()) is (depth(value) > MAX_DEPTH)
    if depth(value) > MAX_DEPTH:
        with pytest.raises(InvalidMessage):
            Message(None, text).json()  # type: ignore[arg-type]
    else:
        assert Message(None, text).json() == value  # type: ignore[arg-type]


@given(st.text('[]{}"\\,:1 ', max_size=200) | st.binary(max_size=60))
def test_what_is_no_json_is_an_error_of_its_own(data: str | bytes) -> None:
    try:
        Message(None, data).json()  # type: ignore[arg-type]
    except InvalidMessage:
        return
    json.loads(data)
