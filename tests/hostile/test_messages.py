"""Rows P1, P4, P18, W13 and W16: messages that an application chokes on, on every engine and over event streams."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import InvalidMessage, LimitExceeded, Limits
from crosspeer.core.message import Message
from crosspeer.testing import HandshakeRefused, events, sockets
from crosspeer.testing.contracts.harness import talk
from crosspeer.wire.nesting import MAX_DEPTH
from hostile.stage import ENGINES, Echo, Stage, needed, stage
from raw import FIN, TEXT, Raw, frame

if TYPE_CHECKING:
    from crosspeer import Peer, Request
    from crosspeer.testing import Client

LIMITS = Limits(close_timeout=1, max_topics=128)
SECRET = "password=hunter2\r\n\x1b[31mforged"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return needed(request.param)


class Reader(Echo):
    """Reads JSON, and subscribes to what it says, as its author wrote it in a hurry."""

    def message(self, peer: Peer, message: Message) -> None:
        value = message.json()
        if isinstance(value, str):
            peer.subscribe(value)
        peer.send(value)


class Careful(Reader):
    """The same with an answer to what is wrong."""

    def message(self, peer: Peer, message: Message) -> None:
        try:
            super().message(peer, message)
        except ValueError as error:
            peer.send({"error": "too many topics" if isinstance(error, LimitExceeded) else "send JSON"})


async def dial(scene: Stage, path: str, how: str) -> Client:
    if how == "events":
        return await events.connect(scene.url + path)
    return await sockets.connect(scene.url.replace("http", "ws") + path)


BAD: dict[str, str | bytes] = {
    "no JSON": "{",
    "nothing": "",
    "5000 arrays": "[" * 5000,
    "5000 arrays that end": "[" * 5000 + "]" * 5000,
    "65 arrays": "[" * 65 + "]" * 65,
    "5000 objects": '{"a":' * 5000,
    "5000 of both that end": '[{"a":' * 2500 + "1" + "}]" * 2500,
    "NaN": "NaN",
    "Infinity in it": "[-Infinity]",
    "5000 digits": "9" * 5000,
    "bytes that are no text": b"\xff\xfe\x00",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
}
HARMLESS = {
    # what comes, what goes back
    "null": "",
    "5": "5",
    "[]": "[]",
    '"x"': "x",
    "9" * 300: "9" * 300,
    '{"a":1,"a":2}': '{"a":2}',
    "[" * MAX_DEPTH + "]" * MAX_DEPTH: "[" * MAX_DEPTH + "]" * MAX_DEPTH,
    '"' + "[" * 200 + '"': "[" * 200,
}
"""What an application may not expect, and can read."""


@pytest.mark.parametrize("how", ["sockets", "events"])
async def test_what_is_no_message_of_the_application_ends_its_sender_alone(
    engine: str, how: str, caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    """By default: 1007, one line in the log, and nothing in it of what was sent."""
    caplog.set_level(logging.INFO, "crosspeer")
    reader = Reader()
    async with stage(engine, limits=LIMITS, routes={"/reader": reader}) as scene:
        for count, (name, data) in enumerate(BAD.items(), 1):
            with subtests.test(msg=name):
                caplog.clear()
                client = await dial(scene, "/reader", how)
                await client.send(data)
                assert await client.wait_closed() == 1007
                assert client.close_reason == "invalid message"
                await reader.wait_for("close", count)
                await scene.undisturbed()
                assert told(caplog) == ["closed a peer from 127.0.0.1 with 1007: invalid message"]
        assert all(isinstance(error, InvalidMessage) for error in reader.of("error"))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "crosspeer"]


async def test_an_application_that_answers_keeps_its_peer(engine: str) -> None:
    """The same connection works after every error."""
    careful = Careful()
    async with stage(engine, limits=LIMITS, routes={"/careful": careful}) as scene:
        for how in ("sockets", "events"):
            client = await dial(scene, "/careful", how)
            for data in BAD.values():
                await client.send(data)
                assert await client.receive() == '{"error":"send JSON"}'
            # What JSON may say and cannot be said again.
            for text in ("1e400", '"\\ud800"'):
                await client.send(text)
                assert await client.receive() == '{"error":"send JSON"}'
            for text, answer in HARMLESS.items():
                await client.send(text)
                assert await client.receive() == answer
            for number in range(200):
                await client.send(json.dumps(f"topic {number}"))
            answers = [await client.receive() for _ in range(200)]
            # "x" and the text of brackets were topics too.
            assert answers.count('{"error":"too many topics"}') == 200 - (128 - 2)
            await client.send("[1]")
            assert await client.receive() == "[1]"
            await client.close()
        await careful.wait_for("close", 2)
        await scene.undisturbed()
        scene.logged()


@pytest.mark.parametrize("how", ["sockets", "events"])
async def test_a_topic_too_many_ends_its_sender_alone(engine: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Row P1: 4505 tells a client not to come back, and nothing stays of its 128 topics."""
    caplog.set_level(logging.INFO, "crosspeer")
    reader = Reader()
    async with stage(engine, limits=LIMITS, routes={"/reader": reader}) as scene:
        client = await dial(scene, "/reader", how)
        for number in range(129):
            await client.send(json.dumps(f"topic {number}"))
        assert await client.wait_closed() == 4505
        await reader.wait_for("close")
        assert isinstance(reader.of("error")[0], LimitExceeded)
        await scene.undisturbed()
        assert scene.hub.topics == 0
        assert told(caplog) == ["closed a peer from 127.0.0.1 with 4505: limit exceeded"]
        long = await dial(scene, "/reader", how)
        await long.send(json.dumps("x" * 256))
        assert await long.wait_closed() == 4505


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, '{"":' * 250_000, "[]" * 500_000, '"' + "\\" * 999_999, "[" + '"",' * 300_000]
)
def test_deep_json_is_refused_before_it_is_read(text: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidMessage):
        Message(None, text).json()  # type: ignore[arg-type]
    assert time.process_time() - started < 1


class Leaky(Echo):
    """Raises, with what no client may see, wherever its path says."""

    def upgrade(self, request: Request) -> None:
        if request.url.path == "/upgrade":
            raise RuntimeError(SECRET)

    def open(self, peer: Peer) -> None:
        super().open(peer)
        if peer.request.url.path == "/open":
            raise RuntimeError(SECRET)

    def message(self, peer: Peer, message: Any) -> None:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("how", ["sockets", "events"])
async def test_the_text_of_an_error_stays_here(engine: str, how: str) -> None:
    """Row P18."""
    leaky = Leaky()
    async with stage(engine, routes={path: leaky for path in ("/upgrade", "/open", "/message")}) as scene:
        with pytest.raises(HandshakeRefused) as refused:
            await dial(scene, "/upgrade", how)
        assert refused.value.status == 500
        assert b"hunter2" not in refused.value.body
        assert "hunter2" not in str(refused.value.headers)
        for path in ("/open", "/message"):
            client = await dial(scene, path, how)
            if path == "/message":
                await client.send("x")
            assert await client.wait_closed() == 1011
            assert client.close_reason == "internal error"
        await leaky.wait_for("close", 2)
        await scene.undisturbed()
        scene.logged(r"the handshake for '/upgrade' failed", r"a hook of peer \S+ failed")


async def test_a_flood_to_a_slow_hook_waits_with_its_sender(engine: str) -> None:
    """Row W13: a hook does not end, and the peer is not read further; the rest waits in the system's buffers."""
    release = asyncio.Event()

    class Slow(Echo):
        async def message(self, peer: Peer, message: Any) -> None:
            self.note("message", len(message.data))
            await release.wait()

    slow = Slow()
    async with stage(engine, routes={"/slow": slow}) as scene, Raw(scene.url) as client:
        await client.upgrade("/slow")
        client.writer.transport.set_write_buffer_limits(0)  # type: ignore[attr-defined]
        data = frame(FIN | TEXT, b"x" * 60_000, key=bytes(4))
        sent, count = 0, 400

        async def flood() -> None:
            nonlocal sent
            for _ in range(count):
                client.send(data)
                await client.writer.drain()
                sent += 1

        flooding = asyncio.ensure_future(flood())
        try:
            before = -1
            while before < sent:
                before = sent
                for _ in range(50):
                    await talk(scene.witness, scene.witness)
            assert sent < count, "nothing holds it up"
            assert slow.of("message") == [60_000]
            release.set()
            await flooding
            await slow.wait_for("message", count, timeout=20)
        finally:
            flooding.cancel()
        scene.logged()
