"""BinaryPack under any bytes: a value or an `UnpackError`, soon, within the limits, and the same when written again."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from crosspeer.wire.binarypack import MAX_DEPTH, UnpackError, pack, unpack

TAGS = st.sampled_from(
    [0x00, 0x80, 0x81, 0x8F, 0x90, 0x91, 0x9F, 0xA0, 0xA1, 0xAF, 0xB0, 0xB1, 0xBF, *range(0xC0, 0x100)]
)
LENGTHS = st.sampled_from(
    [b"\x00", b"\x01", b"\x00\x01", b"\x00\x10", b"\x00\x00\x00\x01", b"\xff\xff", b"\xff\xff\xff\xff"]
)
STREAMS = st.lists(TAGS.map(lambda tag: bytes([tag])) | LENGTHS | st.binary(max_size=8), max_size=60).map(b"".join)


def size_of(value: Any, depth: int = 0) -> int:
    """Items, with a look at their types."""
    assert depth <= MAX_DEPTH
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        return len(value) + sum(size_of(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return len(value) + sum(size_of(item, depth + 1) for item in value)
    assert value is None or isinstance(value, (bool, int, float, str, bytes))
    if isinstance(value, str):
        value.encode()
    return 0


@given(STREAMS | st.binary(max_size=200))
@example(b"\x91" * 200)
@example(b"\xdd\x00\x00\x00\x05" * 40)
def test_any_bytes(data: bytes) -> None:
    try:
        value = unpack(data)
    except UnpackError:
        return
    assert size_of(value) <= len(data)
    again = unpack(pack(value))
    # A NaN is not itself.
    assert again == value or "nan" in repr(value)


@given(STREAMS, st.integers(0, 5), st.integers(0, 20))
def test_limits_hold(data: bytes, max_depth: int, max_items: int) -> None:
    try:
        value = unpack(data, max_depth=max_depth, max_items=max_items)
    except UnpackError:
        return
    assert size_of(value) <= max_items
