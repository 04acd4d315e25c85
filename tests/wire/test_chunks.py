"""Slices: the frames of the npm package, and a receiver that believes nothing."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.binarypack import pack, unpack
from crosspeer.wire.chunks import MAX_TRANSFERS, SLICE, ChunkError, Reassembler, chunks, count

if TYPE_CHECKING:
    from collections.abc import Iterable

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "chunk_vectors.json").read_text())["vectors"]
MIB = 1024 * 1024


def payload_of(row: dict[str, Any]) -> Any:
    if "payload_len" in row:
        return bytes((i * 7 + 3) & 255 for i in range(row["payload_len"]))
    return "ThisIsÁTèstString" * 100_000


def slice_of(transfer: Any, n: Any, data: Any, total: Any) -> dict[str, Any]:
    return {"__peerData": transfer, "n": n, "data": data, "total": total}


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: str(row["packed_len"]))
def test_the_frames_are_those_of_npm(row: dict[str, Any]) -> None:
    packed = pack(payload_of(row))
    assert len(packed) == row["packed_len"]
    assert hashlib.sha256(packed).hexdigest() == row["packed_sha256"]
    if not row["chunked"]:
        assert len(packed) <= SLICE
        return
    frames = list(chunks(packed, row["transfer_id"]))
    assert len(frames) == count(len(packed)) == row.get("frame_count", len(row["frames"]))
    for wanted in row["frames"]:
        frame = frames[wanted["n"]]
        assert len(frame) == wanted["frame_len"]
        assert hashlib.sha256(frame).hexdigest() == wanted["frame_sha256"]
        assert frame.startswith(bytes.fromhex(wanted["frame_head"]))


@pytest.mark.parametrize("turned", [False, True], ids=["in order", "turned round"])
@pytest.mark.parametrize("row", [row for row in VECTORS if row["chunked"]], ids=lambda row: str(row["packed_len"]))
def test_they_are_put_together_in_any_order(row: dict[str, Any], turned: bool) -> None:
    reassembler = Reassembler(2 * MIB)
    frames = [unpack(frame) for frame in chunks(pack(payload_of(row)), 1)]
    if turned:
        frames.reverse()
    for frame in frames[:-1]:
        assert reassembler.add(frame) is None
    packed = reassembler.add(frames[-1])
    assert packed is not None
    assert unpack(packed) == payload_of(row)
    assert len(reassembler) == 0


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_transfers_may_overlap_in_every_way(sizes: list[int], shuffle: Any) -> None:
    messages = {number: bytes([number]) * size for number, size in enumerate(sizes, 1)}
    frames = [unpack(frame) for number, data in messages.items() for frame in chunks(data, number)]
    shuffle.shuffle(frames)
    reassembler = Reassembler(MIB)
    done = [packed for frame in frames if (packed := reassembler.add(frame)) is not None]
    assert sorted(done) == sorted(messages.values())
    assert len(reassembler) == 0


def test_frames_are_made_one_at_a_time() -> None:
    packed = pack(bytes(20 * MIB))
    tracemalloc.start()
    try:
        for _ in chunks(packed, 1):
            pass
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def add_all(reassembler: Reassembler, slices: Iterable[dict[str, Any]]) -> None:
    for each in slices:
        reassembler.add(each)


class TestHostile:
    @pytest.mark.parametrize(
        ("message", "match"),
        [
            ({"__peerData": "x"}, "neither a slice"),
            ({"__peerData": True}, "neither a slice"),
            ({"__peerData": -1}, "neither a slice"),
            ({"__peerData": 1.5}, "neither a slice"),
            ({"__peerData": [1]}, "neither a slice"),
            ({"__peerData": {"type": "dance"}}, "neither a slice"),
            ({"__peerData": 1}, "no sound header"),
            (slice_of(1, 0, "text", 2), "no sound header"),
            (slice_of(1, 0, None, 2), "no sound header"),
            (slice_of(1, -1, b"", 2), "no sound header"),
            (slice_of(1, 0.0, b"", 2), "no sound header"),
            (slice_of(1, False, b"", 2), "no sound header"),
            (slice_of(1, 0, b"", 0), "no sound header"),
            (slice_of(1, 0, b"", "2"), "no sound header"),
            (slice_of(1, 0, b"", 2**63), "more than a message may have"),
            (slice_of(1, 2, b"", 2), "does not fit"),
            (slice_of(1, 2**63, b"", 2), "does not fit"),
            (slice_of(1, 0, bytes(2 * MIB), 2), "passes the limit"),
        ],
        ids=str,
    )
    def test_a_slice_that_cannot_be_right(self, message: dict[str, Any], match: str) -> None:
        reassembler = Reassembler(MIB)
        with pytest.raises(ChunkError, match=match):
            reassembler.add(message)
        assert len(reassembler) == 0
        # Another transfer is not touched by it.
        assert reassembler.add(slice_of(7, 0, b"a", 2)) is None
        assert reassembler.add(slice_of(7, 1, b"b", 2)) == b"ab"

    def test_a_total_that_does_not_match(self) -> None:
        reassembler = Reassembler(MIB)
        reassembler.add(slice_of(1, 0, b"a", 3))
        with pytest.raises(ChunkError, match="slice 1 of 4 does not fit transfer 1, of 3 slices"):
            reassembler.add(slice_of(1, 1, b"b", 4))
        assert reassembler.add(slice_of(1, 2, b"c", 3)) is None, "the rest of it is ignored, not told again"
        assert len(reassembler) == 0

    def test_the_same_slice_twice(self) -> None:
        reassembler = Reassembler(MIB)
        reassembler.add(slice_of(1, 0, b"a", 2))
        with pytest.raises(ChunkError, match="does not fit"):
            reassembler.add(slice_of(1, 0, b"a", 2))

    def test_a_slice_of_a_transfer_that_is_complete(self) -> None:
        reassembler = Reassembler(MIB)
        assert reassembler.add(slice_of(1, 0, b"a", 1)) == b"a"
        with pytest.raises(ChunkError, match="which is complete"):
            reassembler.add(slice_of(1, 0, b"a", 1))

    def test_a_slice_of_a_transfer_never_begun_on_a_channel_that_keeps_the_order(self) -> None:
        reassembler = Reassembler(MIB, ordered=True)
        with pytest.raises(ChunkError, match="slice 5 of transfer 3 came, and slice 0 never did"):
            reassembler.add(slice_of(3, 5, b"a", 10))
        reassembler.add(slice_of(4, 0, b"a", 3))
        with pytest.raises(ChunkError, match="slice 1 never did"):
            reassembler.add(slice_of(4, 2, b"a", 3))

    def test_transfers_that_never_end(self) -> None:
        reassembler = Reassembler(MIB)
        for number in range(1, MAX_TRANSFERS + 1):
            reassembler.add(slice_of(number, 0, b"a", 2))
        with pytest.raises(ChunkError, match="transfers at a time"):
            reassembler.add(slice_of(MAX_TRANSFERS + 1, 0, b"a", 2))
        for number in range(1, MAX_TRANSFERS + 1):
            assert reassembler.add(slice_of(number, 1, b"b", 2)) == b"ab"

    def test_all_that_is_under_way_has_one_bound(self) -> None:
        reassembler = Reassembler(MIB)
        data = bytes(100_000)
        with pytest.raises(ChunkError, match="passes the limit"):
            add_all(reassembler, (slice_of(number, 0, data, 2) for number in range(1, 20)))
        assert 0 < len(reassembler) < 12
        assert reassembler.add(slice_of(1, 1, b"", 2)) == data, "those that were there before go on"

    def test_slices_without_content_cost_too(self) -> None:
        reassembler = Reassembler(MIB)
        with pytest.raises(ChunkError, match="passes the limit"):
            add_all(reassembler, (slice_of(1, n, b"", MIB) for n in range(MIB)))
        assert len(reassembler) == 0

    def test_memory_stays_bounded_whatever_comes(self) -> None:
        reassembler = Reassembler(MIB)
        tracemalloc.start()
        try:
            for number in range(1, 3000):
                try:
                    reassembler.add(slice_of(number, number % 3, bytes(16_000), 1000))
                except ChunkError:
                    continue
            assert tracemalloc.get_traced_memory()[1] < 4 * MIB
        finally:
            tracemalloc.stop()


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)


@given(
    st.lists(st.tuples(st.integers(1, 3) | odd, st.integers(0, 3) | odd, st.binary(max_size=9) | odd, st.just(3) | odd))
)
def test_no_slices_do_harm(rows: list[tuple[Any, Any, Any, Any]]) -> None:
    reassembler = Reassembler(MIB)
    for row in rows:
        try:
            packed = reassembler.add(slice_of(*row))
        except ChunkError:
            continue
        assert packed is None or isinstance(packed, bytes)
    assert len(reassembler) <= len(rows)
    assert reassembler._cost >= 0
