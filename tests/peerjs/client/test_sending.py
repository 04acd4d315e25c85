"""The queue before the channel: order, bounds, progress. On a channel that does as it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crosspeer.peerjs import PeerError
from crosspeer.peerjs.client.sending import HIGH_MARK, Outbox
from crosspeer.peerjs.client.serializers import Pieces
from crosspeer.peerjs.rtc.port import RTCError

KIB = 1024


class FakeChannel:
    """Keeps what is sent until it is told that it has left."""

    native = None
    label = ""
    ordered = True

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.buffered_amount = 0
        self.broken = False

    def send(self, data: str | bytes) -> None:
        if self.broken:
            raise RTCError("broken")
        self.sent.append(data)
        self.buffered_amount += len(data)


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def failures() -> list[RTCError]:
    return []


@pytest.fixture
def drains() -> list[int]:
    return []


@pytest.fixture
def outbox(failures: list[RTCError], drains: list[int]) -> Outbox:
    return Outbox(1000 * KIB, failures.append, lambda: drains.append(len(drains)))


def start(outbox: Outbox, channel: FakeChannel) -> None:
    outbox.start(channel, lambda frame: frame)  # type: ignore[arg-type]


def pieces(count: int, size: int = 100 * KIB) -> Pieces:
    return Pieces((bytes([n]) * size for n in range(count)), count * size, size)


def test_before_the_channel_is_open_everything_waits(outbox: Outbox, channel: FakeChannel) -> None:
    sendings = [outbox.push(text, None) for text in ("a", b"b", "")]
    assert len(outbox) == 3
    assert not any(sending.is_done for sending in sendings)
    outbox.start(channel, lambda frame: f"<{frame!r}>")  # type: ignore[arg-type]
    assert channel.sent == ["<'a'>", "<b'b'>", "<''>"]
    assert all(sending.is_done for sending in sendings)
    outbox.push("later", None)
    assert channel.sent[-1] == "later", "what did not wait is not looked at"
    assert (len(outbox), outbox.size) == (0, 0)


def test_a_full_engine_holds_everything_up_in_order(outbox: Outbox, channel: FakeChannel) -> None:
    start(outbox, channel)
    first, second = outbox.push(pieces(8), None), outbox.push("x", None)
    assert channel.buffered_amount >= HIGH_MARK
    sent = len(channel.sent)
    assert sent < 8
    assert (first.sent, first.total) == (sent * 100 * KIB, 800 * KIB)
    assert len(outbox) == 2
    assert outbox.size == (8 - sent) * 100 * KIB + 1
    while len(outbox):
        channel.buffered_amount = 0
        outbox.resume()
    assert [frame[0] for frame in channel.sent[:8]] == list(range(8))
    assert channel.sent[8] == "x"
    assert first.is_done
    assert second.is_done
    assert outbox.size == 0


def test_it_tells_when_all_that_waited_has_left(outbox: Outbox, channel: FakeChannel, drains: list[int]) -> None:
    outbox.push("before it is open", None)
    start(outbox, channel)
    outbox.push("at once", None)
    outbox.resume()
    assert drains == [], "nothing had to wait for the network"
    for turn in range(2):
        channel.buffered_amount = 0
        outbox.push(pieces(8), None)
        outbox.push("x", None)
        while len(outbox):
            assert len(drains) == turn
            channel.buffered_amount = 0
            outbox.resume()
        assert len(drains) == turn + 1


def test_nothing_new_overtakes_what_waits(outbox: Outbox, channel: FakeChannel) -> None:
    start(outbox, channel)
    outbox.push(pieces(8), None)
    channel.buffered_amount = 0
    outbox.push("x", None)
    assert "x" not in channel.sent


def test_the_queue_has_a_bound_but_lets_one_large_message_in(outbox: Outbox, channel: FakeChannel) -> None:
    outbox.push(pieces(50), None)
    with pytest.raises(PeerError) as raised:
        outbox.push("x", None)
    assert raised.value.type == "buffer-full"
    assert len(outbox) == 1


def test_progress_is_told_and_what_it_raises_is_contained(
    outbox: Outbox, channel: FakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    start(outbox, channel)
    steps: list[tuple[int, int]] = []

    def progress(sent: int, total: int) -> None:
        steps.append((sent, total))
        raise RuntimeError("bug")

    outbox.push(Pieces(iter([b"ab", b"cd", b"e"]), 5, 2), progress)
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert caplog.text.count("a progress function failed") == 3


async def test_a_channel_that_breaks(outbox: Outbox, channel: FakeChannel, failures: list[RTCError]) -> None:
    start(outbox, channel)
    channel.broken = True
    sending = outbox.push("x", None)
    assert [str(failure) for failure in failures] == ["broken"]
    with pytest.raises(PeerError, match="broken") as raised:
        await sending
    assert raised.value.type == "connection-closed"


async def test_the_end_reaches_everybody_who_waits(outbox: Outbox, channel: FakeChannel) -> None:
    start(outbox, channel)
    sending = outbox.push(pieces(8), None)
    waiting = [asyncio.ensure_future(wait(sending)) for _ in range(2)]
    forgotten = outbox.push("nobody waits for this", None)
    await asyncio.sleep(0)
    outbox.fail(PeerError("connection-closed", "over"))
    for each in waiting:
        with pytest.raises(PeerError, match="over"):
            await each
    assert forgotten.error is not None
    assert len(outbox) == 0
    channel.sent.clear()
    outbox.resume()
    assert channel.sent == []


async def wait(sending: Any) -> None:
    await sending


async def test_awaiting_lets_others_run_now_and_then(outbox: Outbox, channel: FakeChannel) -> None:
    start(outbox, channel)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for _ in range(320):
        channel.buffered_amount = 0
        await outbox.push(b"x", None)
    counting.cancel()
    assert turns >= 8


async def test_a_wait_can_be_given_up(outbox: Outbox, channel: FakeChannel) -> None:
    start(outbox, channel)
    sending = outbox.push(pieces(8), None)
    waiting = asyncio.ensure_future(wait(sending))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    while not sending.is_done:
        channel.buffered_amount = 0
        outbox.resume()
    await sending
