"""Event streams and posted messages: what is written is read as it was meant, and no bytes break a reader."""

from __future__ import annotations

import contextlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.frames import ProtocolError
from crosspeer.wire.posted import Posted, PostedReader, encode_posted
from crosspeer.wire.sse import Event, EventReader, encode_comment, encode_event
from crosspeer.wire.streamed import decode, encode_message

MOST = 10_000
ENDS = st.sampled_from(["\r", "\n", "\r\n", "data: ", "event: ", "id: ", ":", " ", "\0", "\ufeff", "\u2028", "\x85"])
TEXTS = st.one_of(st.text(max_size=40), st.lists(ENDS | st.text(max_size=3), max_size=12).map("".join))
LINES = TEXTS.filter(lambda text: not set(text) & set("\r\n\0"))
CUTS = st.lists(st.integers(0, 200), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def read(data: bytes, cuts: list[int]) -> list[Event]:
    reader = EventReader(MOST)
    return [event for piece in pieces(data, cuts) for event in reader.feed(piece)]


def lines_of(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(TEXTS, st.none() | LINES, st.none() | LINES, st.none() | st.integers(0, 10**6), TEXTS, CUTS)
def test_an_event_is_one_event_with_these_fields(
    data: str, event: str | None, id: str | None, retry: int | None, comment: str, cuts: list[int]
) -> None:
    written = encode_comment(comment) + encode_event(data, event=event, id=id, retry=retry) + encode_event("next")
    assert read(written, cuts) == [
        Event(lines_of(data), event or "message", id or ""),
        Event("next", "message", id or ""),
    ]


@given(TEXTS, TEXTS)
def test_a_field_is_written_as_one_line_or_not_at_all(event: str, id: str) -> None:
    try:
        written = encode_event("x", event=event, id=id)
    except ValueError:
        assert set(event + id) & set("\r\n\0")
    else:
        assert written.count(b"\n") == 4


@given(TEXTS | st.binary(max_size=60), CUTS)
def test_a_message_arrives_identical(message: str | bytes, cuts: list[int]) -> None:
    (event,) = read(encode_message(message), cuts)
    assert decode(event) == message


@given(st.binary(max_size=200) | TEXTS.map(str.encode), CUTS)
def test_no_stream_breaks_a_reader_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    events = read(data, cuts)
    assert events == read(data, [])
    for event in events:
        with contextlib.suppress(ValueError):
            decode(event)


MESSAGES = st.one_of(
    TEXTS, st.binary(max_size=60), st.tuples(st.sampled_from([1000, 3000, 4999]), st.text(max_size=20))
)


@given(st.lists(MESSAGES, max_size=6), CUTS)
def test_what_is_posted_arrives_identical(messages: list[Posted], cuts: list[int]) -> None:
    reader = PostedReader(MOST)
    found: list[Posted] = []
    for piece in pieces(b"".join(map(encode_posted, messages)), cuts):
        reader.feed(piece)
        while (message := reader.next()) is not None:
            found.append(message)
    assert found == messages
    assert reader.is_between


@given(st.binary(max_size=80) | st.from_regex(rb"[tbc][0-9]{1,3}:.{0,20}", fullmatch=True), CUTS)
def test_no_body_breaks_a_reader_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    def outcome(cuts: list[int]) -> object:
        reader = PostedReader(20)
        found: list[Posted] = []
        try:
            for piece in pieces(data, cuts):
                reader.feed(piece)
                while (message := reader.next()) is not None:
                    found.append(message)
        except ProtocolError as error:
            return found, error.code
        return found, reader.is_between

    assert outcome(cuts) == outcome([])
