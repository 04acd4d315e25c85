"""Server-sent events: what is written is read as it was meant, by us and by whoever keeps to the standard."""

from __future__ import annotations

from typing import Any

import pytest

from crosspeer.wire.sse import Event, EventReader, encode_comment, encode_event
from crosspeer.wire.streamed import (
    decode,
    encode_close,
    encode_message,
    encode_start,
    may_return,
    position,
    read_position,
)

MOST = 1000


def read(data: bytes, size: int | None = None) -> list[Event]:
    """The events of a stream that comes in pieces of a size."""
    reader = EventReader(MOST)
    pieces = [data] if size is None else [data[start : start + size] for start in range(0, len(data), size)]
    return [event for piece in pieces for event in reader.feed(piece)]


WRITTEN = [
    # fields, bytes
    ({"data": "text"}, b"data: text\n\n"),
    ({"data": ""}, b"data: \n\n"),
    ({"data": " led"}, b"data:  led\n\n"),
    ({"data": "a\nb\n\nc"}, b"data: a\ndata: b\ndata: \ndata: c\n\n"),
    ({"data": "a\rb\r\nc\n\rd"}, b"data: a\ndata: b\ndata: c\ndata: \ndata: d\n\n"),
    ({"data": "a\u2028b\u2029c\x85d\x0be"}, "data: a\u2028b\u2029c\x85d\x0be\n\n".encode()),
    ({"data": "\ufeffü"}, "data: \ufeffü\n\n".encode()),
    ({"data": "x", "event": "news", "id": "7", "retry": 100}, b"id: 7\nevent: news\nretry: 100\ndata: x\n\n"),
    ({"data": "x", "id": ""}, b"id: \ndata: x\n\n"),
    ({"data": None, "retry": 0}, b"retry: 0\n\n"),
]


@pytest.mark.parametrize(("fields", "written"), WRITTEN, ids=[str(row[0]) for row in WRITTEN])
def test_an_event_is_written_in_one_form(fields: dict[str, Any], written: bytes) -> None:
    assert encode_event(**fields) == written


READ = [
    # bytes, events as (data, type, id)
    (b"data\n\n", [("", "message", "")]),
    (b"data\ndata\n\n", [("\n", "message", "")]),
    (b"data:test\n\ndata: test\n\n", [("test", "message", ""), ("test", "message", "")]),
    (b"data:  two\n\n", [(" two", "message", "")]),
    (b": comment\ndata: a\n\n", [("a", "message", "")]),
    (b"data: never ended", []),
    (b"id: 1\n\ndata: a\n\n", [("a", "message", "1")]),
    (
        b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        [("a", "message", "1"), ("b", "message", "1"), ("c", "message", "")],
    ),
    (b"id: a\x00b\ndata: x\n\n", [("x", "message", "")]),
    (b"event: e\n\ndata: x\n\n", [("x", "message", "")]),
    (b"event: e\nevent: f\ndata: x\n\n", [("x", "f", "")]),
    (b"unknown: x\ndata: a\n\n", [("a", "message", "")]),
    (b"\xef\xbb\xbfdata: a\n\n", [("a", "message", "")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", [("a", "message", ""), ("b", "message", ""), ("c", "message", "")]),
    (b"data: \xff\xfe\n\n", [("\ufffd\ufffd", "message", "")]),
]


@pytest.mark.parametrize("size", [None, 1, 2, 3])
@pytest.mark.parametrize(("data", "events"), READ, ids=[str(row[0]) for row in READ])
def test_a_stream_is_read_as_the_standard_says(
    data: bytes, events: list[tuple[str, str, str]], size: int | None
) -> None:
    assert [(event.data, event.event, event.id) for event in read(data, size)] == events


@pytest.mark.parametrize(
    ("line", "retry"), [("10", 10), ("", None), ("1.5", None), ("-1", None), ("٣", None), ("9" * 30, None)]
)
def test_only_digits_are_a_time_to_wait(line: str, retry: int | None) -> None:
    reader = EventReader(MOST)
    reader.feed(f"retry: {line}\n\n".encode())
    assert reader.retry == retry


@pytest.mark.parametrize("event", [b"data: " + b"x" * MOST + b"\n\n", b"x" * (MOST + 1), b"data: x\n" * 200])
def test_an_event_that_is_too_long_is_refused(event: bytes) -> None:
    with pytest.raises(ValueError, match="too long"):
        read(event, 100)


def test_comments_are_not_seen() -> None:
    assert encode_comment() == b":\n\n"
    assert encode_comment("a\nb\rdata: c") == b": a\n: b\n: data: c\n\n"
    assert read(encode_comment("a\n\ndata: b\n\n") + encode_event("x")) == [Event("x", "message", "")]


MESSAGES = [
    "",
    "text",
    "a\nb",
    "a\r\nb\rc",
    "\r",
    "\n",
    " ",
    ":",
    "data: x\n\nevent: y",
    "\0",
    "\ufeff",
    "\u2028",
    "🎉",
    b"",
    b"\0\xff\r\n",
]


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_a_message_arrives_as_it_was(message: str | bytes, size: int | None) -> None:
    (event,) = read(encode_message(message), size)
    assert decode(event) == message


def test_crossws_has_forms_of_its_own() -> None:
    assert encode_message(b"\x01", crossws=True) == b"data: data:application/octet-stream;base64,AQ==\n\n"
    assert encode_message("a\r\nb", crossws=True) == b"data: a\ndata: b\n\n"


def test_the_beginning_and_the_end() -> None:
    started = read(encode_start("secret", "key.0", resumed=False, resume=15.0, keep_alive=5.0, retry=0.5))
    assert [(event.event, event.id) for event in started] == [("crossws-id", "key.0"), ("start", "key.0")]
    assert started[0].data == "secret"
    (gone,) = read(encode_close(1012, "restart", 1.0))
    assert (decode(gone), gone.id) == ((1012, "restart"), "")
    (dismissed,) = read(encode_close(4500, 'no\n"more"', 1.0))
    assert (decode(dismissed), dismissed.id) == ((4500, 'no\n"more"'), "closed")


@pytest.mark.parametrize(
    ("event", "data"),
    [("text", "{"), ("text", "5"), ("binary", "*"), ("binary", "YQ"), ("close", "[]"), ("close", "{}"), ("close", "x")],
)
def test_what_is_not_what_it_says_is_refused(event: str, data: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(Event(data, event))


@pytest.mark.parametrize(
    ("codes", "may"),
    [((1001, 1006, 1011, 1012, 1013, 3000, 4000, 4499), True), ((1000, 1002, 1008, 1009, 3500, 4500, 4999), False)],
)
def test_who_was_closed_by_a_fault_may_return(codes: tuple[int, ...], may: bool) -> None:
    assert [code for code in codes if may_return(code) is not may] == []


def test_a_position_is_read_as_it_was_written() -> None:
    key = "k" * 22
    assert read_position(position(key, 0)) == (key, 0)
    assert read_position(position(key, 123)) == (key, 123)
