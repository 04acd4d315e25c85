"""Messages in the body of a POST, however it is cut on its way."""

from __future__ import annotations

import pytest

from crosspeer.wire.frames import ProtocolError
from crosspeer.wire.posted import Posted, PostedReader, encode_posted

MOST = 1000
MESSAGES: list[Posted] = [
    "",
    "text",
    "ünï 🎉",
    b"",
    b"\x00\xff",
    "t5:hello",
    "x" * MOST,
    (1000, "bye"),
    (4321, ""),
    (1005, ""),
]


def read(data: bytes, size: int) -> list[Posted]:
    reader = PostedReader(MOST)
    found: list[Posted] = []
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        while (message := reader.next()) is not None:
            found.append(message)
    assert reader.is_between
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_messages_arrive_as_they_were(size: int) -> None:
    assert read(b"".join(map(encode_posted, MESSAGES)), size) == MESSAGES


BAD = [
    # id, bytes, the code that it closes with
    ("another kind", b"x1:a", 1002),
    ("no length", b"t:a", 1002),
    ("a length with a zero in front", b"t01:a", 1002),
    ("a negative length", b"t-1:a", 1002),
    ("a length in other digits", "t٣:abc".encode(), 1002),
    ("a length with a space", b"t 1:a", 1002),
    ("a plus", b"t+1:a", 1002),
    ("endless digits", b"t" + b"1" * 30, 1002),
    ("plain text", b"hello", 1002),
    ("too big", b"t1001:", 1009),
    ("much too big", b"b9999999999999999:", 1009),
    ("a long close", b"c126:", 1009),
    ("no UTF-8", b"t2:\xff\xfe", 1007),
    ("UTF-8 cut short", b"t1:\xc3", 1007),
    ("a close of one byte", b"c1:x", 1002),
    ("a close with 1006", b"c2:\x03\xee", 1002),
]


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize(("data", "code"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_no_message_is_refused_at_once(data: bytes, code: int, size: int) -> None:
    with pytest.raises(ProtocolError) as refused:
        read(data, size)
    assert refused.value.code == code


@pytest.mark.parametrize("part", [b"t", b"t1", b"t10", b"b3:ab", b"t0:t"])
def test_half_a_message_is_waited_for(part: bytes) -> None:
    reader = PostedReader(MOST)
    reader.feed(part)
    while reader.next() is not None:
        pass
    assert not reader.is_between
