"""The Python frame reader under any bytes: one meaning in every split, no limit passed, no error but its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.closing import check_close
from crosspeer.wire.deflate import Inflater
from crosspeer.wire.frames import CLOSE, MAX_CONTROL_PAYLOAD, TEXT, FrameReader, ProtocolError, decode_close
from streams import FAULTS, MOST, cuts, pieces, sound, streams

HEAD = 14
REFUSED = -1
Outcome = list[tuple[Any, ...]]
"""Opcodes and payloads, and at the end perhaps `REFUSED` with a code and a reason."""


def reader_of(compression: bool, takeover: bool = False) -> FrameReader:
    return FrameReader(MOST, Inflater(takeover, MOST, lambda excess: True) if compression else None)


def read(reader: FrameReader, chunks: list[bytes]) -> Outcome:
    """All events, up to the close frame or the error that ends them, with every bound checked on the way."""
    outcome: Outcome = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (event := reader.next()) is not None:
                outcome.append(event)
                if event[0] == CLOSE:
                    decode_close(event[1])  # type: ignore[arg-type]
                    return outcome
            assert len(reader._data) <= len(chunk) + HEAD + 2 * MOST + 1024, "more is kept than a frame may have"
            assert len(reader._fragments) <= MOST
    except ProtocolError as error:
        outcome.append((REFUSED, error.code, error.reason))
    return outcome


def check(outcome: Outcome) -> None:
    for opcode, payload, *reason in outcome:
        if opcode == REFUSED:
            check_close(payload, *reason)
        elif opcode == TEXT:
            assert len(payload.encode()) <= MOST
        else:
            assert isinstance(payload, bytes)
            assert len(payload) <= (MAX_CONTROL_PAYLOAD if opcode >= CLOSE else MOST)


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
def test_no_fault_passes_a_limit(compression: bool) -> None:
    for fault in FAULTS:
        at_once = read(reader_of(compression), [fault])
        check(at_once)
        assert read(reader_of(compression), [fault[at : at + 1] for at in range(len(fault))]) == at_once


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
@given(data=st.data())
def test_a_stream_means_the_same_in_every_split(compression: bool, data: st.DataObject) -> None:
    stream = data.draw(streams(compression=compression))
    at_once = read(reader_of(compression), [stream])
    check(at_once)
    assert read(reader_of(compression), pieces(stream, data.draw(cuts(6, len(stream))))) == at_once
    assert read(reader_of(compression), [stream[at : at + 1] for at in range(len(stream))]) == at_once


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
@given(data=st.data())
def test_sound_frames_are_all_read(compression: bool, data: st.DataObject) -> None:
    stream, events = data.draw(sound(compression=compression))
    assert read(reader_of(compression), pieces(stream, data.draw(cuts(6, len(stream))))) == events


@given(st.binary(max_size=200), st.booleans(), cuts(4, 200))
def test_any_bytes_at_all(stream: bytes, compression: bool, places: list[int]) -> None:
    at_once = read(reader_of(compression, takeover=True), [stream])
    check(at_once)
    assert read(reader_of(compression, takeover=True), pieces(stream, places)) == at_once
