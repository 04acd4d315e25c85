"""What every adapter promises: the same hooks, the same close codes, the same bounds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from starlette.exceptions import HTTPException

from crosspeer.core.heartbeat import Heartbeat
from crosspeer.core.hooks import CloseDetails, Hooks, define_hooks
from crosspeer.core.hub import Hub
from crosspeer.core.limits import Limits
from crosspeer.core.request import Request, Response
from crosspeer.core.session import ReadyState
from crosspeer.core.upgrade import Upgrade
from crosspeer.testing.client import ConnectionClosed, HandshakeRefused
from crosspeer.testing.contracts.covers import covers
from crosspeer.testing.contracts.harness import Recorder, talk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crosspeer.core.message import Message
    from crosspeer.core.peer import Peer
    from crosspeer.testing.contracts.harness import Harness

SMALL = Limits(max_message_size=1000, max_queue_size=64 * 1024, close_timeout=0.5, handshake_timeout=2.0)

MOST_UNREAD = 500
"""Messages of 64 kB that no server holds, its system's buffers included, which does not read on."""


class Echo(Recorder):
    """Sends back whatever comes."""

    def message(self, peer: Peer, message: Message) -> Any:
        peer.send(message.data)


class Chat(Recorder):
    """Publishes whatever comes to the others of the namespace."""

    def open(self, peer: Peer) -> None:
        peer.subscribe("chat")
        super().open(peer)
        peer.send("ready")

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("chat", message.data)


@dataclass
class Point:
    x: int
    y: float


class AdapterContract:
    """Subclass it as `class TestMine(AdapterContract)` with a `harness` fixture, and say which `column` it fills.

    docs/compatibility.md is made of the results: every subclass with a `column` of its own appears there by itself.
    A capability that its harness lacks gets a footnote; `reasons` says why, by the name of the capability.
    """

    column: ClassVar[str] = ""
    """The title of the server's column in docs/compatibility.md ("aiohttp"). Empty: it has none."""
    reasons: ClassVar[Mapping[str, str]] = {}
    """Why the server lacks a capability, without a full stop: `{"response_headers": "`accept` takes no headers"}`."""

    # Handshake.

    @covers("Hub.resolve")
    async def test_no_hooks_for_a_path_is_404(self, harness: Harness) -> None:
        hub = Hub(resolve=lambda request: Echo() if request.url.path == "/echo" else None)
        async with harness.serve(hub) as connect:
            await self.refused(harness, connect("/other"), 404)
            async with connect("/echo") as client:
                await talk(client, client)

    @covers("Hub.resolve")
    async def test_an_async_resolver_is_asked_once(self, harness: Harness) -> None:
        asked = []

        async def resolve(request: Request) -> Hooks:
            asked.append(request.url.path)
            await asyncio.sleep(0)
            return Echo()

        async with harness.serve(Hub(resolve=resolve)) as connect, connect("/a") as client:
            await talk(client, client)
            await talk(client, client)
        assert asked == ["/a"]

    @covers("Hooks.upgrade", "Response")
    async def test_a_refusal_carries_status_headers_and_body(self, harness: Harness) -> None:
        recorder = Recorder()
        refusal = Response("no entry", 401, {"www-authenticate": "Bearer", "x-why": "test"}, "text/plain")
        recorder.upgrade = lambda request: refusal  # type: ignore[method-assign]
        async with harness.serve(Hub(recorder)) as connect:
            refused = await self.refused(harness, connect("/"), 401)
        if harness.capabilities.denial_response:
            assert refused.body == b"no entry"
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.headers["x-why"] == "test"
        else:
            assert refused.body != b"no entry"
            assert "x-why" not in refused.headers
        assert recorder.events == [], "a refused handshake has no peer"

    @covers("Hooks.upgrade", "Response")
    async def test_an_http_exception_refuses(self, harness: Harness) -> None:
        def upgrade(request: Request) -> None:
            raise HTTPException(429, "slow down", {"retry-after": "7"})

        async with harness.serve(Hub(define_hooks(upgrade=upgrade))) as connect:
            refused = await self.refused(harness, connect("/"), 429)
        if harness.capabilities.denial_response:
            assert refused.body == b"slow down"
            assert refused.headers["retry-after"] == "7"

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example", "nonsense"])
    @covers("Hub.origins")
    async def test_a_foreign_origin_is_403_before_upgrade(self, harness: Harness, origin: str) -> None:
        called: list[Request] = []
        hub = Hub(define_hooks(upgrade=called.append))
        async with harness.serve(hub) as connect:
            # What is no origin at all a server may refuse by itself.
            await self.refused(harness, connect("/", origin=origin), 403, 400 if origin == "nonsense" else 403)
        assert not called

    @covers("Hub.origins")
    async def test_a_listed_origin_may_connect(self, harness: Harness) -> None:
        async with (
            harness.serve(Hub(Echo(), origins=["https://good.example"])) as connect,
            connect("/", origin="https://good.example") as client,
        ):
            await talk(client, client)

    @covers(
        "Hooks.upgrade",
        "Upgrade.headers",
        "Upgrade.namespace",
        "Upgrade.context",
        "Peer.namespace",
        "Peer.context",
        "Peer.request",
    )
    async def test_upgrade_sets_headers_context_and_namespace(self, harness: Harness) -> None:
        recorder = Echo()

        async def upgrade(request: Request) -> Upgrade:
            await asyncio.sleep(0)
            cookies = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-room", "7")]
            return Upgrade(headers=cookies, namespace="room-7", context={"user": "ada"})

        recorder.upgrade = upgrade  # type: ignore[method-assign]
        async with harness.serve(Hub(recorder)) as connect, connect("/any") as client:
            await recorder.wait_for("open")
            peer = recorder.peers[0]
            assert peer.namespace == "room-7"
            assert peer.context == {"user": "ada"}
            assert peer.context is peer.request.context
            if harness.capabilities.response_headers:
                assert client.headers.getlist("set-cookie") == ["a=1", "b=2"]
                assert client.headers["x-room"] == "7"
            else:
                assert "x-room" not in client.headers

    @covers("Upgrade.protocol", "Peer.websocket.protocol")
    async def test_a_subprotocol_is_chosen_only_from_the_offer(self, harness: Harness) -> None:
        recorder = Echo()
        recorder.upgrade = lambda request: {"protocol": "chat.v2"}  # type: ignore[method-assign]
        async with harness.serve(Hub(recorder)) as connect:
            async with connect("/", subprotocols=["chat.v1", "chat.v2"]) as client:
                await recorder.wait_for("open")
                chosen = "chat.v2" if harness.capabilities.subprotocol else ""
                assert client.protocol == chosen
                assert recorder.peers[0].websocket.protocol == chosen
            async with connect("/") as client:
                await recorder.wait_for("open", 2)
                assert client.protocol == ""
                assert recorder.peers[1].websocket.protocol == ""

    @pytest.mark.parametrize(
        "answer",
        [
            {"headers": [("x-split", "a\r\nset-cookie: x=1")]},
            {"headers": {"bad name": "x"}},
            {"headers": {"upgrade": "h2c"}},
            {"unknown": 1},
            {"namespace": ""},
            "a string",
        ],
    )
    @covers("Hooks.upgrade")
    async def test_a_wrong_answer_of_upgrade_is_500(self, harness: Harness, answer: Any) -> None:
        recorder = Recorder()
        recorder.upgrade = lambda request: answer  # type: ignore[method-assign]
        async with harness.serve(Hub(recorder)) as connect:
            refused = await self.refused(harness, connect("/"), 500)
        assert "set-cookie" not in refused.headers
        assert recorder.events == []

    @covers("Hooks.upgrade")
    async def test_an_upgrade_that_raises_is_500_without_details(
        self, harness: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        def upgrade(request: Request) -> None:
            raise RuntimeError("the secret is 42")

        async with harness.serve(Hub(define_hooks(upgrade=upgrade))) as connect:
            refused = await self.refused(harness, connect("/"), 500)
        assert b"secret" not in refused.body
        assert "the secret is 42" in caplog.text

    @covers("Limits.handshake_timeout")
    async def test_an_upgrade_that_takes_too_long_is_503(self, harness: Harness) -> None:
        async def upgrade(request: Request) -> None:
            await asyncio.Event().wait()

        hub = Hub(define_hooks(upgrade=upgrade), limits=Limits(handshake_timeout=0.1))
        async with harness.serve(hub) as connect:
            await self.refused(harness, connect("/"), 503)
            assert hub.connections == 0

    @covers("Limits.max_connections")
    async def test_one_connection_too_many_is_503(self, harness: Harness) -> None:
        recorder = Echo()
        hub = Hub(recorder, limits=Limits(max_connections=1))
        async with harness.serve(hub) as connect:
            async with connect("/") as client:
                refused = await self.refused(harness, connect("/"), 503)
                if harness.capabilities.denial_response:
                    assert refused.headers["retry-after"] == "1"
                await talk(client, client)
            await recorder.wait_for("close")
            async with connect("/") as client:
                await talk(client, client)

    # The request and the peer.

    @covers(
        "Peer.id",
        "Peer.namespace",
        "Peer.request",
        "Peer.remote_address",
        "Peer.peers",
        "Peer.websocket.url",
        "Peer.websocket.extensions",
        "Peer.websocket.ready_state",
        "Peer.websocket.buffered_amount",
        "Peer.buffered_amount",
        "str(peer)",
        "Hub.peers",
    )
    async def test_the_request_and_the_peer_tell_what_they_are(self, harness: Harness) -> None:
        recorder = Echo()
        hub = Hub(recorder)
        async with (
            harness.serve(hub) as connect,
            connect("/caf%C3%A9/x?name=Ada&n=1", headers={"x-token": "t", "cookie": "c=2"}) as client,
        ):
            await recorder.wait_for("open")
            peer = recorder.peers[0]
            request = peer.request
            assert request.url.path == "/caf%C3%A9/x" or request.url.path == "/café/x"
            assert request.scope["path"] == "/café/x"
            assert request.url.scheme == "http"
            assert request.method == "GET"
            assert dict(request.query_params) == {"name": "Ada", "n": "1"}
            assert request.headers["x-token"] == "t"
            assert request.cookies == {"c": "2"}
            assert peer.remote_address == "127.0.0.1"
            assert peer.websocket.url.startswith("ws://")
            assert peer.websocket.url.endswith("?name=Ada&n=1")
            assert peer.websocket.ready_state is ReadyState.OPEN
            assert peer.websocket.extensions == ""
            assert peer.namespace == "/café/x"
            assert str(peer) == peer.id
            assert len(peer.id) == 36
            assert peer.id[14] == "4"
            assert peer.peers == {peer}
            assert {name: list(peers) for name, peers in hub.peers.items()} == {"/café/x": [peer]}
            assert request.hub is hub
            await talk(client, client)
            # The client may be faster than the server's own note of what it has written.
            await asyncio.wait_for(peer.wait_for_drain(), 5)
            assert peer.buffered_amount == peer.websocket.buffered_amount == 0

    # Messages.

    @pytest.mark.parametrize("data", ["", "text", "ünï – 🎉", b"", b"\x00\xff\x80", "x" * 70_000, b"y" * 70_000])
    @covers("Hooks.message", "Message.data", "Peer.send")
    async def test_a_message_keeps_its_kind_and_content(self, harness: Harness, data: str | bytes) -> None:
        async with harness.serve(Hub(Echo())) as connect, connect("/") as client:
            await client.send(data)
            if data == b"" and not harness.capabilities.empty_binary:
                await talk(client, client)
            else:
                assert await client.receive() == data

    @covers(
        "Message.id",
        "Message.peer",
        "Message.data",
        "Message.is_text",
        "Message.text",
        "Message.bytes",
        "Message.memoryview",
        "Message.file",
        "Message.json",
        "str(message)",
        "Peer.websocket.binary_type",
    )
    async def test_a_message_has_all_its_views(self, harness: Harness) -> None:
        seen: list[Message] = []
        recorder = Recorder()

        def message(peer: Peer, message: Message) -> None:
            seen.append(message)
            peer.send("seen")

        recorder.message = message  # type: ignore[method-assign]
        async with harness.serve(Hub(recorder)) as connect, connect("/") as client:
            for data in ('{"n":1,"s":"ü"}', b'{"n":1,"s":"\xc3\xbc"}'):
                await client.send(data)
                assert await client.receive() == "seen"
            assert recorder.peers[0].websocket.binary_type == "bytes"
        text, binary = seen
        assert (text.is_text, text.data) == (True, '{"n":1,"s":"ü"}')
        assert (binary.is_text, binary.data) == (False, '{"n":1,"s":"ü"}'.encode())
        for message_ in seen:
            assert message_.peer is recorder.peers[0]
            assert message_.text() == str(message_) == text.data
            assert message_.bytes() == bytes(message_.memoryview()) == message_.file().read() == binary.data
            assert message_.json() == {"n": 1, "s": "ü"}
            assert message_.json(dict) == {"n": 1, "s": "ü"}
            assert len(message_.id) == 36
        assert text.id != binary.id

    @pytest.mark.parametrize(
        ("value", "wire"),
        [
            (None, ""),
            (True, "true"),
            (7, "7"),
            (1.5, "1.5"),
            ({"a": [1, "ü"]}, '{"a":[1,"ü"]}'),
            ([1, 2, 3], "[1,2,3]"),
            ((1, 2), "[1,2]"),
            (Point(1, 2.5), '{"x":1,"y":2.5}'),
            (bytearray(b"ab"), b"ab"),
            (memoryview(b"abc")[1:], b"bc"),
        ],
    )
    @covers("Peer.send")
    async def test_what_is_sent_has_one_form(self, harness: Harness, value: Any, wire: str | bytes) -> None:
        hub = Hub(define_hooks(open=lambda peer: peer.send(value)))
        async with harness.serve(hub) as connect, connect("/") as client:
            assert await client.receive() == wire

    @covers("Peer.send", "Hooks.message")
    async def test_many_messages_keep_their_order(self, harness: Harness) -> None:
        async with harness.serve(Hub(Echo())) as connect, connect("/") as client:
            count = 300
            sender = asyncio.create_task(self.send_numbers(client, count))
            received = [await client.receive() for _ in range(count)]
            await sender
        assert received == [str(number) for number in range(count)]

    # Topics.

    @covers("Peer.publish", "Peer.subscribe", "Hub.publish")
    async def test_publish_reaches_the_others_of_the_namespace_once(self, harness: Harness) -> None:
        hub = Hub(Chat())
        async with (
            harness.serve(hub) as connect,
            connect("/a") as one,
            connect("/a") as two,
            connect("/b") as elsewhere,
        ):
            for client in (one, two, elsewhere):
                assert await client.receive() == "ready"
            await one.send("hello")
            assert await two.receive() == "hello"
            await two.send(b"bytes")
            assert await one.receive() == b"bytes"
            hub.publish("chat", "for b", namespace="/b")
            hub.publish("chat", {"for": "all"})
            assert await one.receive() == '{"for":"all"}'
            assert await two.receive() == '{"for":"all"}'
            assert await elsewhere.receive() == "for b"
            assert await elsewhere.receive() == '{"for":"all"}'

    @covers("Peer.subscribe", "Peer.unsubscribe", "Peer.topics", "Peer.peers", "Peer.websocket.ready_state")
    async def test_a_peer_that_left_is_forgotten(self, harness: Harness) -> None:
        chat = Chat()
        hub = Hub(chat)
        async with harness.serve(hub) as connect:
            async with connect("/a") as client:
                assert await client.receive() == "ready"
                peer = chat.peers[0]
                peer.subscribe("more")
                peer.unsubscribe("more")
                assert peer.topics == {"chat"}
            await chat.wait_for("close")
            assert peer not in peer.peers
            assert peer.websocket.ready_state is ReadyState.CLOSED
            assert not hub.peers
            assert hub.topics == 0
            assert hub.connections == 0
            peer.send("into the void")
            peer.subscribe("chat")
            assert hub.topics == 0

    @covers("Peer.publish", "Peer.topics", "Hooks.close")
    async def test_publish_works_in_close(self, harness: Harness) -> None:
        class Goodbye(Chat):
            def close(self, peer: Peer, details: CloseDetails) -> None:
                for topic in peer.topics:
                    peer.publish(topic, "left")
                super().close(peer, details)

        async with harness.serve(Hub(Goodbye())) as connect, connect("/") as stays:
            assert await stays.receive() == "ready"
            async with connect("/") as leaves:
                assert await leaves.receive() == "ready"
            assert await stays.receive() == "left"

    # Hooks.

    @covers("Hooks.open", "Hooks.message", "Hooks.close")
    async def test_hooks_of_a_peer_run_one_at_a_time_and_in_order(self, harness: Harness) -> None:
        class Slow(Recorder):
            running = 0

            async def during(self, name: str, value: Any) -> None:
                self.running += 1
                assert self.running == 1
                self.note(f"{name} begins", value)
                for _ in range(3):
                    await asyncio.sleep(0)
                self.running -= 1
                self.note(name, value)

            async def open(self, peer: Peer) -> None:  # type: ignore[override]
                await self.during("open", None)

            async def message(self, peer: Peer, message: Message) -> None:
                await self.during("message", message.text())

            async def close(self, peer: Peer, details: CloseDetails) -> None:  # type: ignore[override]
                await self.during("close", details.code)

        slow = Slow()
        async with harness.serve(Hub(slow)) as connect, connect("/") as client:
            for text in ("1", "2", "3"):
                await client.send(text)
            await client.close(1000)
            await slow.wait_for("close")
        calls = [("open", None), ("message", "1"), ("message", "2"), ("message", "3")]
        expected = [(name + end, value) for name, value in calls for end in (" begins", "")]
        assert slow.events[:-2] == expected
        assert [name for name, _ in slow.events[-2:]] == ["close begins", "close"]

    @pytest.mark.parametrize("hook", ["open", "message", "ping"])
    @pytest.mark.parametrize("is_async", [False, True])
    @covers("Hooks.error")
    async def test_a_hook_that_raises_closes_its_peer_alone_with_1011(
        self, harness: Harness, hook: str, is_async: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        if hook == "ping" and not harness.capabilities.ping:
            pytest.skip("no ping hook here: Capabilities.ping")
        bad = failing(hook, is_async)
        good = Echo()
        hub = Hub(resolve=lambda request: bad if request.url.path == "/bad" else good)
        async with harness.serve(hub) as connect, connect("/good") as witness:
            await talk(witness, witness)
            client = await connect("/bad")
            if hook == "message":
                await client.send("x")
            elif hook == "ping":
                await client.ping(b"x")
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == self.seen(harness, 1011, "internal error")
            await bad.wait_for("close")
            assert [type(error) for error in bad.of("error")] == [RuntimeError]
            await talk(witness, witness)
        assert "the secret is 42" in caplog.text

    @covers("Hooks.error", "Hooks.close")
    async def test_close_that_raises_is_reported_and_disturbs_nobody(
        self, harness: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        bad = failing("close", False)
        good = Echo()
        hub = Hub(resolve=lambda request: bad if request.url.path == "/bad" else good)
        async with harness.serve(hub) as connect, connect("/good") as witness:
            async with connect("/bad"):
                await bad.wait_for("open")
            await bad.wait_for("error")
            await talk(witness, witness)
        assert len(bad.of("error")) == 1
        assert hub.connections == 0

    @covers("Hooks.error")
    async def test_an_error_hook_may_keep_the_peer(self, harness: Harness) -> None:
        class Forgiving(Hooks):
            def message(self, peer: Peer, message: Message) -> None:
                peer.send(message.json())

            def error(self, peer: Peer, error: Exception) -> None:
                peer.send(f"error: {type(error).__name__}")

        async with harness.serve(Hub(Forgiving())) as connect, connect("/") as client:
            await client.send("{")
            assert await client.receive() == "error: InvalidMessage"
            await client.send("[" * 100_000)
            assert await client.receive() == "error: InvalidMessage"
            await client.send('{"a":1}')
            assert await client.receive() == '{"a":1}'

    @covers("Hooks.error")
    async def test_an_error_hook_that_raises_closes_with_1011(
        self, harness: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Hopeless(Recorder):
            def message(self, peer: Peer, message: Message) -> None:
                raise RuntimeError("first")

            async def error(self, peer: Peer, error: Exception) -> None:  # type: ignore[override]
                raise RuntimeError("second")

        hopeless = Hopeless()
        async with harness.serve(Hub(hopeless)) as connect, connect("/") as client:
            await client.send("x")
            assert await client.wait_closed() == self.seen(harness, 1011)[0]
            await hopeless.wait_for("close")
        assert "second" in caplog.text

    @covers("Limits.max_waiting_messages")
    async def test_a_slow_hook_stops_the_reading_of_its_peer_alone(self, harness: Harness) -> None:
        release = asyncio.Event()
        running = asyncio.Event()
        seen: list[str] = []

        async def message(peer: Peer, message: Message) -> None:
            running.set()
            await release.wait()
            seen.append(message.text())

        slow, good = Recorder(), Echo()
        slow.message = message  # type: ignore[method-assign]
        limits = Limits(max_waiting_messages=4)
        hub = Hub(resolve=lambda request: slow if request.url.path == "/slow" else good, limits=limits)
        async with harness.serve(hub) as connect, connect("/slow") as client, connect("/good") as witness:
            sender = asyncio.create_task(self.send_numbers(client, 50))
            await asyncio.wait_for(running.wait(), 5)
            await talk(witness, witness)
            (session,) = [session for session in hub.sessions() if session.namespace == "/slow"]
            assert session.waiting <= limits.max_waiting_messages
            release.set()
            await asyncio.wait_for(sender, 5)
            await client.close()
            await slow.wait_for("close")
        assert seen == [str(number) for number in range(50)]

    @covers("Limits.max_waiting_messages")
    async def test_a_slow_hook_holds_its_client_up(self, harness: Harness) -> None:
        release = asyncio.Event()

        async def message(peer: Peer, message: Message) -> None:
            await release.wait()

        slow, good = define_hooks(message=message), Echo()
        limits = Limits(max_waiting_messages=4)
        hub = Hub(resolve=lambda request: slow if request.url.path == "/slow" else good, limits=limits)
        async with harness.serve(hub) as connect, connect("/good") as witness:
            client = await connect("/slow")
            sent: list[int] = []
            sender = asyncio.create_task(self.send_blocks(client, sent))
            known = -1
            # While a whole conversation takes place, something would be read if anything were.
            while known < len(sent) < MOST_UNREAD:
                known = len(sent)
                for _ in range(20):
                    await talk(witness, witness)
            assert (len(sent) < MOST_UNREAD) is harness.capabilities.read_backpressure
            sender.cancel()
            client.terminate()
            release.set()

    # Ping.

    @covers("Peer.ping", "Hooks.ping", "Hooks.pong")
    async def test_ping_and_pong_hooks(self, harness: Harness) -> None:
        recorder = Echo()
        async with harness.serve(Hub(recorder)) as connect, connect("/") as client:
            await recorder.wait_for("open")
            peer = recorder.peers[0]
            with pytest.raises(ValueError, match="125"):
                peer.ping(b"x" * 126)
            peer.ping(b"from the server")
            await client.ping(b"from the client")
            await talk(client, client)
            if harness.capabilities.ping:
                assert await recorder.wait_for("ping") == b"from the client"
                assert await recorder.wait_for("pong") == b"from the server"
            else:
                assert recorder.of("ping") == recorder.of("pong") == []

    # Heartbeat.

    @covers("Hub.heartbeat")
    async def test_whatever_a_peer_sends_answers_the_heartbeat(self, harness: Harness) -> None:
        """It asks by pings where the server has them, else by a message, whose own answer no hook sees."""
        recorder = Echo()
        heartbeat = Heartbeat(interval=0.1, timeout=2.0, message="still there?", reply="yes")
        async with harness.serve(Hub(recorder, heartbeat=heartbeat)) as connect, connect("/") as client:
            for answer in ("yes", "something else", b"yes"):
                if not harness.capabilities.ping:
                    assert await client.receive() == "still there?"
                await client.send(answer)
                if harness.capabilities.ping or answer != "yes":
                    assert await client.receive() == answer
            if harness.capabilities.ping:
                # The client answers by itself, as long as it reads.
                with pytest.raises(TimeoutError):
                    await client.receive(timeout=2.5)
            assert recorder.of("close") == recorder.of("pong") == []

    @covers("Hub.heartbeat")
    async def test_a_peer_without_a_sign_of_life_is_gone(self, harness: Harness) -> None:
        recorder = Recorder()
        hub = Hub(recorder, limits=Limits(close_timeout=0.5), heartbeat=Heartbeat(interval=0.2, timeout=0.2))
        async with harness.serve(hub) as connect:
            client = await connect("/")
            await recorder.wait_for("open")
            client.freeze()
            details = await recorder.wait_for("close", timeout=20)
            # Where the server can drop nobody it says goodbye instead.
            assert details.code == (1006 if harness.capabilities.terminate else 1001)
            assert not hub.peers
            client.terminate()

    # Closing.

    @covers("Hooks.close", "CloseDetails.code", "CloseDetails.reason")
    async def test_the_client_closes(self, harness: Harness) -> None:
        recorder = Recorder()
        async with harness.serve(Hub(recorder)) as connect, connect("/") as client:
            await client.close(4321, "bye")
            details = await recorder.wait_for("close")
            assert (client.close_code == 4321) is harness.capabilities.close_code_echoed
            if harness.capabilities.close_code_received:
                reason = "bye" if harness.capabilities.close_reason_received else ""
                assert details == CloseDetails(4321, reason, was_clean=True)
            else:
                assert details.code in (1005, 1006)
                assert details.reason == ""

    @covers("Hooks.close", "CloseDetails.code")
    async def test_the_client_closes_without_a_code(self, harness: Harness) -> None:
        recorder = Recorder()
        async with harness.serve(Hub(recorder)) as connect, connect("/") as client:
            await client.close(1005)
            details = await recorder.wait_for("close")
            if harness.capabilities.lost_connection:
                assert details == CloseDetails(1005, "", was_clean=True)
            else:
                assert details in (CloseDetails(1005, "", was_clean=True), CloseDetails(1006, "", was_clean=False))

    @covers("Peer.close", "Hooks.close")
    async def test_the_server_closes(self, harness: Harness) -> None:
        recorder = Echo()
        async with harness.serve(Hub(recorder)) as connect, connect("/") as client:
            await recorder.wait_for("open")
            peer = recorder.peers[0]
            peer.send("last words")
            peer.close(4000, "done")
            peer.close(4001, "a second time changes nothing")
            peer.send("too late")
            assert peer.websocket.ready_state is ReadyState.CLOSING
            assert await client.receive() == "last words"
            with pytest.raises(ConnectionClosed) as closed:
                await client.receive()
            assert (closed.value.code, closed.value.reason) == self.seen(harness, 4000, "done")
            details = await recorder.wait_for("close")
            assert (details.code, details.reason) == (4000, "done")
            assert len(recorder.of("close")) == 1

    @pytest.mark.parametrize(
        ("code", "reason", "error"),
        [
            (999, "", ValueError),
            (1005, "", ValueError),
            (1006, "", ValueError),
            (1015, "", ValueError),
            (2999, "", ValueError),
            (5000, "", ValueError),
            (1000, "x" * 124, ValueError),
            (1000, "ü" * 62, ValueError),
            ("1000", "", TypeError),
            (1000, b"bytes", TypeError),
        ],
    )
    @covers("Peer.close")
    async def test_a_bad_close_raises_and_leaves_the_peer(
        self, harness: Harness, code: Any, reason: Any, error: type[Exception]
    ) -> None:
        recorder = Echo()
        async with harness.serve(Hub(recorder)) as connect, connect("/") as client:
            await recorder.wait_for("open")
            with pytest.raises(error):
                recorder.peers[0].close(code, reason)
            await talk(client, client)

    @covers("Peer.terminate")
    async def test_terminate(self, harness: Harness) -> None:
        recorder = Recorder()
        async with harness.serve(Hub(recorder)) as connect, connect("/") as client:
            await recorder.wait_for("open")
            recorder.peers[0].terminate()
            recorder.peers[0].terminate()
            details = await recorder.wait_for("close")
            code = await client.wait_closed()
            if harness.capabilities.terminate:
                assert code == 1006
            assert details == CloseDetails(1006, "", was_clean=False)

    @covers("CloseDetails.was_clean")
    async def test_a_client_that_vanishes(self, harness: Harness) -> None:
        recorder = Echo()
        async with harness.serve(Hub(recorder)) as connect, connect("/") as witness:
            client = await connect("/")
            await recorder.wait_for("open", 2)
            client.terminate()
            details = await recorder.wait_for("close")
            if harness.capabilities.lost_connection:
                assert details == CloseDetails(1006, "", was_clean=False)
            else:
                assert details in (CloseDetails(1005, "", was_clean=True), CloseDetails(1006, "", was_clean=False))
            await talk(witness, witness)

    @covers("Peer.close")
    async def test_closing_in_open(self, harness: Harness) -> None:
        recorder = Recorder()
        recorder.open = lambda peer: peer.close(4003, "not you")  # type: ignore[method-assign]
        async with harness.serve(Hub(recorder)) as connect:
            client = await connect("/")
            assert await client.wait_closed() == self.seen(harness, 4003)[0]
            await recorder.wait_for("close")

    @covers("Hub.close")
    async def test_the_hub_closes_all(self, harness: Harness) -> None:
        recorder = Recorder()
        hub = Hub(recorder)
        async with harness.serve(hub) as connect:
            one, two = await connect("/a"), await connect("/b")
            await recorder.wait_for("open", 2)
            closing = asyncio.create_task(hub.close())
            for client in (one, two):
                assert await client.wait_closed() == self.seen(harness, 1001)[0]
            await asyncio.wait_for(closing, 5)
            assert len(recorder.of("close")) == 2
            assert not hub.peers

    # Limits.

    @pytest.mark.parametrize("data", ["x" * 1001, b"x" * 1001, "ü" * 501], ids=["text", "binary", "utf-8"])
    @covers("Limits.max_message_size")
    async def test_a_message_too_big_is_1009(self, harness: Harness, data: str | bytes) -> None:
        recorder = Echo()
        async with harness.serve(Hub(recorder, limits=SMALL)) as connect, connect("/") as witness:
            client = await connect("/")
            await client.send("x" * 1000)
            assert await client.receive() == "x" * 1000
            await client.send("ü" * 500)
            assert await client.receive() == "ü" * 500
            await client.send(data)
            assert await client.wait_closed() == self.seen(harness, 1009)[0]
            await recorder.wait_for("close")
            await talk(witness, witness)

    @covers("Limits.max_queue_size")
    async def test_a_peer_that_does_not_read_is_closed_with_1013(self, harness: Harness) -> None:
        recorder = Chat()
        hub = Hub(recorder, limits=SMALL)
        async with harness.serve(hub) as connect, connect("/") as witness:
            assert await witness.receive() == "ready"
            client = await connect("/stuck")
            await recorder.wait_for("open", 2)
            stuck = recorder.peers[1]
            if not await self.flood(harness, hub, stuck, lambda: stuck.websocket.ready_state is not ReadyState.OPEN):
                stuck.send("the end")
                await self.read_until(client, "the end")
                return
            code = await client.wait_closed()
            assert code == self.seen(harness, 1013)[0] or (code == 1006 and not harness.capabilities.terminate)
            details = await recorder.wait_for("close")
            assert details.code == 1013
            hub.publish("chat", "still here")
            assert await witness.receive() == "still here"

    @pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
    @covers("Limits.overflow", "Peer.dropped")
    async def test_a_peer_that_does_not_read_loses_messages(self, harness: Harness, policy: Any) -> None:
        recorder = Chat()
        hub = Hub(recorder, limits=Limits(max_queue_size=64 * 1024, overflow=policy))
        async with harness.serve(hub) as connect, connect("/stuck") as client:
            await recorder.wait_for("open")
            stuck = recorder.peers[0]
            if not await self.flood(harness, hub, stuck, lambda: stuck.dropped > 3):
                client.terminate()
                return
            assert stuck.websocket.ready_state is ReadyState.OPEN
            assert stuck.buffered_amount <= 2 * 64 * 1024
            ending = asyncio.create_task(self.send_last(stuck, "the end"))
            await self.read_until(client, "the end")
            await ending

    @covers("Hooks.drain", "Peer.wait_for_drain", "Peer.buffered_amount")
    async def test_drain_and_wait_for_drain(self, harness: Harness) -> None:
        recorder = Chat()
        hub = Hub(recorder, limits=Limits(max_queue_size=8 * 1024 * 1024))
        async with harness.serve(hub) as connect, connect("/stuck") as client:
            await recorder.wait_for("open")
            stuck = recorder.peers[0]
            if not await self.flood(harness, hub, stuck, lambda: stuck.buffered_amount > 256 * 1024):
                await stuck.wait_for_drain(threshold=1024)
                assert recorder.of("drain") == []
                client.terminate()
                return
            waiting = asyncio.create_task(stuck.wait_for_drain(threshold=1024))
            await asyncio.sleep(0)
            assert not waiting.done()
            assert recorder.of("drain") == []
            reading = asyncio.create_task(self.read_until(client, "the end"))
            await asyncio.wait_for(waiting, 5)
            assert stuck.buffered_amount <= 1024
            await recorder.wait_for("drain")
            stuck.send("the end")
            await reading

    @covers("Peer.wait_for_drain")
    async def test_waiting_for_drain_ends_with_the_peer(self, harness: Harness) -> None:
        recorder = Chat()
        hub = Hub(recorder, limits=Limits(max_queue_size=8 * 1024 * 1024, close_timeout=0.5))
        async with harness.serve(hub) as connect:
            client = await connect("/stuck")
            await recorder.wait_for("open")
            stuck = recorder.peers[0]
            await self.flood(harness, hub, stuck, lambda: stuck.buffered_amount > 256 * 1024)
            waiting = asyncio.create_task(stuck.wait_for_drain())
            await asyncio.sleep(0)
            stuck.terminate()
            await asyncio.wait_for(waiting, 5)
            client.terminate()

    # Helpers.

    async def refused(self, harness: Harness, connecting: Any, *statuses: int) -> HandshakeRefused:
        """The handshake is refused, with one of these where the server can say it."""
        with pytest.raises(HandshakeRefused) as refused:
            await connecting
        assert refused.value.status in (statuses if harness.capabilities.denial_status else {403, *statuses[1:]})
        return refused.value

    def seen(self, harness: Harness, code: int, reason: str = "") -> tuple[int, str]:
        """A close frame of ours as its client sees it."""
        can = harness.capabilities
        if not can.low_close_codes and 1000 < code < 3000:
            code += 2000
        return code if can.close_code_sent else 1005, reason if can.close_reason_sent else ""

    async def send_numbers(self, client: Any, count: int) -> None:
        for number in range(count):
            await client.send(str(number))

    async def send_blocks(self, client: Any, sent: list[int]) -> None:
        for _ in range(MOST_UNREAD):
            await client.send(b"x" * 64_000, timeout=60)
            sent.append(64_000)

    async def flood(self, harness: Harness, hub: Hub, peer: Peer, until: Callable[[], bool]) -> bool:
        """Publish to a peer that does not read, a little in each turn of the loop, until that is felt.

        False: it never is, because the server has no backpressure. Then nothing waits here and nothing is lost.
        """
        for _ in range(20_000 if harness.capabilities.backpressure else 600):
            if until():
                return True
            hub.publish("chat", "x" * 16_000, namespace=peer.namespace)
            await asyncio.sleep(0)
        assert not harness.capabilities.backpressure, "nothing held the server up"
        assert (peer.websocket.ready_state, peer.buffered_amount, peer.dropped) == (ReadyState.OPEN, 0, 0)
        return False

    async def send_last(self, peer: Peer, last: str) -> None:
        """Send a last message once the queue has room."""
        await peer.wait_for_drain()
        peer.send(last)

    async def read_until(self, client: Any, last: str) -> None:
        while await client.receive() != last:
            pass


def failing(hook: str, is_async: bool) -> Recorder:
    """Hooks of which one raises."""
    recorder = Recorder()
    original = getattr(recorder, hook, None)

    def fail(peer: Peer, *args: Any) -> None:
        if hook == "close" and original is not None:
            original(peer, *args)
        raise RuntimeError("the secret is 42")

    async def fail_later(peer: Peer, *args: Any) -> None:
        await asyncio.sleep(0)
        fail(peer, *args)

    setattr(recorder, hook, fail_later if is_async else fail)
    return recorder
