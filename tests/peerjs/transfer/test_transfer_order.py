"""Hostile ends of a transfer, as data: what does not belong where it comes is refused, with a clear text."""

from __future__ import annotations

from typing import Any

import pytest

from crosspeer.peerjs.transfer.errors import ProtocolError
from crosspeer.peerjs.transfer.messages import (
    MAX_CHUNK,
    Ack,
    Bye,
    Cancel,
    Data,
    Done,
    End,
    Go,
    Have,
    Message,
    Offer,
    Prefix,
    Refuse,
    check_greeting,
    read,
    write,
)
from crosspeer.peerjs.transfer.order import MAX_QUESTIONS, Incoming, Outgoing, State

SHA = b"s" * 32
ASKED = "asked"
STARTED = "started"
EVERY: list[Message] = [
    Offer("a", 1), Have(2), Prefix(SHA), Go(0), Data(0, b"x"), Ack(1), End(SHA), Done("a"), Refuse("no"), Cancel("no"),
    Bye(),
]  # fmt: skip

NO_MESSAGES: dict[str, tuple[Any, str]] = {
    "a text": ("offer", "a str in place of a message"),
    "nothing": (None, "a NoneType in place of a message"),
    "a list": ([], "a list in place of a message"),
    "bytes": (b"x", "a bytes in place of a message"),
    "an empty dict": ({}, "unknown type"),
    "a type that nobody knows": ({"type": "dance"}, "unknown type"),
    "a type that is a list": ({"type": ["offer"]}, "unknown type"),
    "an offer without anything": ({"type": "offer"}, "offer with an unsound name"),
    "a name that is bytes": ({"type": "offer", "name": b"a", "size": 1}, "unsound name"),
    "an endless name": ({"type": "offer", "name": "x" * 5000, "size": 1}, "unsound name"),
    "a size below 0": ({"type": "offer", "name": "a", "size": -1}, "unsound size"),
    "an absurd size": ({"type": "offer", "name": "a", "size": 2**63}, "unsound size"),
    "a size that is text": ({"type": "offer", "name": "a", "size": "1"}, "unsound size"),
    "a size that is true": ({"type": "offer", "name": "a", "size": True}, "unsound size"),
    "half a byte": ({"type": "offer", "name": "a", "size": 0.5}, "unsound size"),
    "a size that is no number": ({"type": "offer", "name": "a", "size": float("nan")}, "unsound size"),
    "an endless size": ({"type": "offer", "name": "a", "size": float("inf")}, "unsound size"),
    "a short digest": ({"type": "end", "sha256": b"x" * 31}, "unsound sha256"),
    "a digest in letters": ({"type": "end", "sha256": "x" * 64}, "unsound sha256"),
    "data that is text": ({"type": "data", "offset": 0, "data": "x"}, "unsound data"),
    "data of nothing": ({"type": "data", "offset": 0, "data": b""}, "unsound data"),
    "too much data": ({"type": "data", "offset": 0, "data": bytes(MAX_CHUNK + 1)}, "unsound data"),
    "data before the file": ({"type": "data", "offset": -1, "data": b"x"}, "unsound offset"),
}

FROM_SENDERS: dict[str, tuple[list[Any], str]] = {
    "data before an offer": ([Data(0, b"x")], "data between two files"),
    "an end before an offer": ([End(SHA)], "end between two files"),
    "a prefix that nobody asked for": ([Prefix(SHA)], "prefix between two files"),
    "what receivers say": ([Go(0)], "go between two files"),
    "data before the answer": ([Offer("a", 9), Data(0, b"x")], "data after an offer"),
    "a second offer before the answer": ([Offer("a", 9), Offer("b", 9)], "offer after an offer"),
    "data in place of a prefix": ([Offer("a", 9), ASKED, Data(0, b"x")], "data after a question"),
    "a second prefix": ([Offer("a", 9), ASKED, Prefix(SHA), STARTED, Prefix(SHA)], "prefix amid a file"),
    "a second file amid the first": ([Offer("a", 9), STARTED, Data(0, b"x"), Offer("b", 1)], "offer amid a file"),
    "bye amid a file": ([Offer("a", 9), STARTED, Bye()], "bye amid a file"),
    "data twice": ([Offer("a", 9), STARTED, Data(0, b"x"), Data(0, b"x")], "byte 0, when 1 was next"),
    "a hole": ([Offer("a", 9), STARTED, Data(0, b"x"), Data(3, b"x")], "byte 3, when 1 was next"),
    "the wrong order": ([Offer("a", 9), STARTED, Data(4, b"xxxx")], "byte 4, when 0 was next"),
    "more than was offered": ([Offer("a", 3), STARTED, Data(0, b"xxxx")], "more than the 3 bytes"),
    "more, a byte later": ([Offer("a", 1), STARTED, Data(0, b"x"), Data(1, b"x")], "more than the 1 bytes"),
    "less than was offered": ([Offer("a", 3), STARTED, Data(0, b"x"), End(SHA)], "end after 1 of 3 bytes"),
    "an end twice": ([Offer("a", 0), STARTED, End(SHA), End(SHA)], "end after the end"),
    "data behind a cancel": ([Offer("a", 3), STARTED, Cancel("no"), Data(0, b"x")], "data after a file was cancelled"),
    "data behind the end": ([Offer("a", 0), STARTED, End(SHA), Data(0, b"x")], "data after the end"),
}

FROM_RECEIVERS: dict[str, tuple[list[Any], str]] = {
    "done at once": ([Done("a")], "done after an offer"),
    "an acknowledgement at once": ([Ack(1)], "ack after an offer"),
    "what senders say": ([Offer("a", 1)], "offer after an offer"),
    "on from where nothing was asked": ([Go(5)], "byte 5, which was not asked for"),
    "on from elsewhere": ([Have(4), Go(5)], "byte 5, which was not asked for"),
    "more than there is": ([Have(11)], "first 11 of 10 bytes"),
    "a question for nothing": ([Have(0)], "first 0 of 10 bytes"),
    "endless questions": ([Have(1)] * (MAX_QUESTIONS + 1), "a question for the first 1"),
    "go twice": ([Go(0), Go(0)], "go amid a file"),
    "an acknowledgement of what was not sent": ([Go(0), Ack(1)], "acknowledgement of 1 bytes, when 0 were sent"),
    "an acknowledgement that goes back": ([Have(5), Go(5), Ack(4)], "acknowledgement of 4 bytes, when 5 were sent"),
    "done amid a file": ([Go(0), Done("a")], "done amid a file"),
}


@pytest.mark.parametrize("message", EVERY, ids=lambda message: type(message).__name__)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert read(write(message)) == message
    assert read({**write(message), "new": 1}) == message


def test_large_numbers_of_javascript_are_floats() -> None:
    assert read({"type": "offer", "name": "a", "size": 5e9}) == Offer("a", 5_000_000_000)


@pytest.mark.parametrize(("value", "why"), NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_what_is_no_message(value: Any, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read(value)


@pytest.mark.parametrize("metadata", [None, "x", [], {}, {"transfer": 2}, {"transfer": "1"}, {"transfer": None}])
def test_a_connection_for_something_else(metadata: Any) -> None:
    with pytest.raises(ProtocolError, match="version 1"):
        check_greeting(metadata)
    check_greeting({"transfer": 1, "new": 2})


@pytest.mark.parametrize(("steps", "why"), FROM_SENDERS.values(), ids=FROM_SENDERS)
def test_a_sender_that_lies(steps: list[Any], why: str) -> None:
    order = Incoming()
    for step in steps[:-1]:
        if step == ASKED:
            order.asked()
        elif step == STARTED:
            order.started(0)
        else:
            order.hear(step)
    with pytest.raises(ProtocolError, match=why):
        order.hear(steps[-1])


@pytest.mark.parametrize(("messages", "why"), FROM_RECEIVERS.values(), ids=FROM_RECEIVERS)
def test_a_receiver_that_lies(messages: list[Message], why: str) -> None:
    order = Outgoing(10)
    for message in messages[:-1]:
        order.hear(message)
    with pytest.raises(ProtocolError, match=why):
        order.hear(messages[-1])


def test_done_before_all_is_written() -> None:
    order = Outgoing(10)
    order.hear(Go(0))
    order.sent = 10
    order.hear(Ack(4))
    order.ended()
    with pytest.raises(ProtocolError, match="done after 4 of 10 bytes"):
        order.hear(Done("a"))


def test_an_honest_sender() -> None:
    order = Incoming()
    for _ in range(2):
        order.hear(Offer("a", 4))
        order.asked()
        order.hear(Prefix(SHA))
        order.started(2)
        order.hear(Data(2, b"xx"))
        order.hear(End(SHA))
        order.ended()
    order.hear(Offer("b", 4))
    order.started(0)
    order.hear(Cancel("changed"))
    order.ended()
    order.hear(Bye())
    assert order.state is State.IDLE


def test_an_honest_receiver() -> None:
    order = Outgoing(4)
    for message in (Have(3), Have(2), Go(2)):
        order.hear(message)
    order.sent = 4
    order.ended()
    order.hear(Ack(4))
    order.hear(Done("a"))
    assert order.unacknowledged == 0


def test_a_sender_that_gives_up() -> None:
    order = Outgoing(9)
    order.hear(Go(0))
    order.sent = 5
    order.cancelled()
    order.hear(Ack(5))
    order.hear(Refuse("it was cancelled"))
