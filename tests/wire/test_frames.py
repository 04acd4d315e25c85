"""The frame reader as a pure function: rows of bytes in and events or a close code out, in every chunking."""

from __future__ import annotations

import itertools
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from crosspeer.wire.deflate import Inflater
from crosspeer.wire.frames import (
    COMPRESSED,
    FREE_FRAGMENTS,
    FrameReader,
    ProtocolError,
    decode_close,
    encode_close,
    encode_frame,
)
from crosspeer.wire.masking import unmask, unmask_slowly
from raw import BINARY, CLOSE, FIN, PING, PONG, TEXT, frame

CONT = 0x0
LIMIT = 70_000

Outcome = list[tuple[int, str | bytes] | int]


def read(*chunks: bytes, limit: int = LIMIT) -> Outcome:
    """All events, and the close code where the protocol was broken."""
    reader = FrameReader(limit)
    outcome: Outcome = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (event := reader.next()) is not None:
                if event[0] == CLOSE:
                    decode_close(event[1])  # type: ignore[arg-type]
                outcome.append(event)
    except ProtocolError as error:
        outcome.append(error.code)
    return outcome


ROWS: list[tuple[str, bytes, Outcome]] = [
    ("nothing", b"", []),
    ("text", frame(FIN | TEXT, b"hi"), [(TEXT, "hi")]),
    ("empty text", frame(FIN | TEXT), [(TEXT, "")]),
    ("binary", frame(FIN | BINARY, b"\x00\xff"), [(BINARY, b"\x00\xff")]),
    ("125 bytes", frame(FIN | BINARY, b"x" * 125), [(BINARY, b"x" * 125)]),
    ("126 bytes", frame(FIN | BINARY, b"x" * 126), [(BINARY, b"x" * 126)]),
    ("65535 bytes", frame(FIN | BINARY, b"x" * 65_535), [(BINARY, b"x" * 65_535)]),
    ("65536 bytes", frame(FIN | BINARY, b"x" * 65_536), [(BINARY, b"x" * 65_536)]),
    ("at the limit", frame(FIN | BINARY, b"x" * LIMIT), [(BINARY, b"x" * LIMIT)]),
    ("two messages", frame(FIN | TEXT, b"a") + frame(FIN | TEXT, b"b"), [(TEXT, "a"), (TEXT, "b")]),
    ("half a frame", frame(FIN | TEXT, b"hello")[:-1], []),
    ("fragments", frame(TEXT, b"a") + frame(CONT, b"b") + frame(FIN | CONT, b"c"), [(TEXT, "abc")]),
    ("empty fragments", frame(TEXT) + frame(CONT) + frame(FIN | CONT), [(TEXT, "")]),
    ("a character over fragments", frame(TEXT, b"\xf0\x9f") + frame(FIN | CONT, b"\x8e\x89"), [(TEXT, "🎉")]),
    ("ping inside a message", frame(TEXT, b"a") + frame(FIN | PING, b"p") + frame(FIN | CONT, b"b"), [(PING, b"p"), (TEXT, "ab")]),
    ("pong", frame(FIN | PONG, b"x" * 125), [(PONG, b"x" * 125)]),
    ("close", frame(FIN | CLOSE, b"\x03\xe8bye"), [(CLOSE, b"\x03\xe8bye")]),
    ("close without a code", frame(FIN | CLOSE), [(CLOSE, b"")]),
    ("second message after fragments", frame(BINARY, b"a") + frame(FIN | CONT, b"b") + frame(FIN | TEXT, b"c"), [(BINARY, b"ab"), (TEXT, "c")]),
    # What breaks the protocol.
    ("unmasked", frame(FIN | TEXT, b"hi", masked=False), [1002]),
    ("rsv1", frame(FIN | 0x40 | TEXT), [1002]),
    ("rsv2", frame(FIN | 0x20 | TEXT), [1002]),
    ("rsv3", frame(FIN | 0x10 | TEXT), [1002]),
    *((f"opcode {opcode:x}", frame(FIN | opcode), [1002]) for opcode in (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)),
    ("ping of 126 bytes", frame(FIN | PING, b"x" * 126), [1002]),
    ("fragmented ping", frame(PING), [1002]),
    ("fragmented close", frame(CLOSE), [1002]),
    ("continuation first", frame(CONT, b"x"), [1002]),
    ("last continuation first", frame(FIN | CONT, b"x"), [1002]),
    ("message inside a message", frame(TEXT, b"a") + frame(FIN | TEXT, b"b"), [1002]),
    ("continuation after the end", frame(FIN | TEXT, b"a") + frame(FIN | CONT, b"b"), [(TEXT, "a"), 1002]),
    ("16 bits for 125", bytes((0x82, 0xFE, 0, 125)) + bytes(129), [1002]),
    ("64 bits for 65535", bytes((0x82, 0xFF)) + (65_535).to_bytes(8, "big") + bytes(65_539), [1002]),
    ("the highest bit of the length", bytes((0x82, 0xFF)) + (2**63).to_bytes(8, "big") + bytes(4), [1002]),
    ("a length that is only claimed", frame(FIN | BINARY, b"", length=2**62), [1009]),
    ("a byte over the limit", frame(FIN | BINARY, b"", length=LIMIT + 1), [1009]),
    ("over the limit in fragments", frame(BINARY, b"x" * 60_000) + frame(CONT, b"x" * 10_001), [1009]),
    ("invalid utf-8", frame(FIN | TEXT, b"\xff"), [1007]),
    ("surrogate", frame(FIN | TEXT, b"\xed\xa0\x80"), [1007]),
    ("overlong", frame(FIN | TEXT, b"\xc0\xaf"), [1007]),
    ("above U+10FFFF", frame(FIN | TEXT, b"\xf4\x90\x80\x80"), [1007]),
    ("cut character", frame(FIN | TEXT, b"\xf0\x9f"), [1007]),
    ("invalid in the first fragment", frame(TEXT, b"\xff") + frame(FIN | CONT, b"a"), [1007]),
    ("close of one byte", frame(FIN | CLOSE, b"x"), [1002]),
    *((f"close {code}", frame(FIN | CLOSE, code.to_bytes(2, "big")), [1002]) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)),
    ("close with an invalid reason", frame(FIN | CLOSE, b"\x03\xe8\xff"), [1007]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "outcome"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_rows(data: bytes, outcome: Outcome) -> None:
    assert read(data) == outcome


@pytest.mark.parametrize(("data", "outcome"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_any_split_of_the_bytes_gives_the_same_events(data: bytes, outcome: Outcome) -> None:
    size = max(1, len(data) // 2000)
    assert read(*(data[start : start + size] for start in range(0, len(data), size))) == outcome
    random.seed(data)
    for _ in range(5):
        cuts = sorted(random.randrange(len(data) + 1) for _ in range(4))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert read(*pieces) == outcome


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
@settings(max_examples=300)
def test_any_bytes_give_events_or_a_code_in_any_split(data: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(bounds)]
    assert read(*pieces) == read(data)


@given(st.binary(max_size=400), st.binary(min_size=4, max_size=4))
def test_unmask_is_the_xor_of_the_rfc(payload: bytes, key: bytes) -> None:
    expected = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    assert unmask(payload, key) == unmask_slowly(payload, key) == expected
    assert unmask(bytearray(payload), bytearray(key)) == expected


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_what_is_written_is_what_another_library_writes(opcode: int, size: int) -> None:
    payload = b"x" * size
    assert encode_frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4321, "bye ü"), (1005, "")])
def test_close_frames_come_back(code: int, reason: str) -> None:
    assert decode_close(encode_close(code, reason)[2:]) == (code, reason)


def test_small_fragments_have_a_budget_that_conformance_fits_in() -> None:
    """Row W4: a million empty fragments end, or of one byte, and Autobahn's 9.3.1 (fragments of 64 bytes) passes."""
    start, piece = frame(BINARY), frame(CONT)
    assert read(start + piece * (FREE_FRAGMENTS - 1)) == []
    assert read(start + piece * FREE_FRAGMENTS) == [1008]
    assert read(start + frame(CONT, b"x") * 5000) == [1008]
    small = frame(CONT, b"x" * 64)
    assert read(start + small * 1000 + frame(FIN | CONT)) == [(BINARY, b"x" * 64_000)]
    assert read(start + small * 5000 + frame(FIN | CONT), limit=1_000_000) == [(BINARY, b"x" * 320_000)]


@pytest.mark.parametrize(("first", "code"), [(b"\xff", 1007), (b"", 1009)])
def test_the_first_wrong_byte_of_a_compressed_text_decides(first: bytes, code: int) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bomb.compress(first + bytes(5000)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    reader = FrameReader(1000, Inflater(False, 1000, lambda excess: True))
    reader.feed(frame(FIN | COMPRESSED | TEXT, data[:-4]))
    with pytest.raises(ProtocolError) as refused:
        reader.next()
    assert refused.value.code == code


@pytest.mark.parametrize("size", [10, 11])
def test_a_small_limit_counts_for_small_messages_too(size: int) -> None:
    data = b"x" * size
    assert read(frame(FIN | BINARY, data), limit=10) == ([(BINARY, data)] if size == 10 else [1009])


def test_a_message_that_comes_byte_by_byte_is_not_read_again_and_again() -> None:
    """Row W4: the work is linear in the bytes, so a large message in tiny pieces takes no longer than a moment."""
    data = frame(FIN | BINARY, b"x" * 60_000)
    reader = FrameReader(LIMIT)
    looks = 0
    for index in range(len(data)):
        reader.feed(data[index : index + 1])
        before = reader._need
        event = reader.next()
        looks += reader._need != before
    assert event is not None
    assert looks <= 4
