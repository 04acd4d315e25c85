"""Messages of logs: what is written is read again, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.envelope import EnvelopeError, Publication, encode_note, entry
from crosspeer.wire.logged import (
    MAX_OFFSET,
    Numbered,
    Stamp,
    decode_numbered,
    encode_numbered,
    is_numbered,
    is_stamped,
    read_stamp,
    stamp,
)

NODE = bytes(range(16))
EPOCH = "0123456789abcdef"


@given(st.integers(0, 2**64 - 1), st.booleans(), st.text(max_size=50), st.sampled_from(["/room", None]))
def test_what_is_written_is_read_again(number: int, is_spread: bool, text: str, namespace: str | None) -> None:
    publication = Publication(namespace, "topic", text)
    data = encode_numbered(NODE, number, entry(publication, text.encode()), is_spread=is_spread)
    assert is_numbered(data)
    assert decode_numbered(data, 1000) == Numbered(NODE, number, is_spread, publication)
    for cut in range(len(data)):
        with pytest.raises(EnvelopeError):
            decode_numbered(data[:cut], 1000)


@given(st.integers(0, MAX_OFFSET), st.integers(0, MAX_OFFSET), st.binary(max_size=50))
def test_a_stamp_is_read_again(one: int, other: int, data: bytes) -> None:
    previous, offset = sorted((one, other))
    stamped = stamp(EPOCH, previous, offset, data)
    assert is_stamped(stamped)
    assert read_stamp(stamped) == (Stamp(EPOCH, previous, offset), data)


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    for wrong in (data, b"xl" + data, b"xn" + data, b"xn\x01\x00" + data):
        with pytest.raises(EnvelopeError):
            decode_numbered(wrong, 1000)
    with pytest.raises(EnvelopeError):
        read_stamp(b"xl" + EPOCH.encode() + b":2:1\n" + data)


def test_a_note_and_two_publications_are_none() -> None:
    head = b"xn\x01\x00" + bytes(8)
    two = entry(Publication("/", "t", "x"), b"x") * 2
    for wrong in (head + encode_note(NODE, {"do": "leave"}), encode_numbered(NODE, 1, two, is_spread=False)):
        with pytest.raises(EnvelopeError, match="not one"):
            decode_numbered(wrong, 1000)
