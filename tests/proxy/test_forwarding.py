"""What goes through a proxy unchanged, on every kind of server in front of it and behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crosspeer import Hub, Limits, Request, Response, define_hooks, proxy
from crosspeer.testing import ConnectionClosed, HandshakeRefused
from crosspeer.testing import connect as connect_in_memory
from crosspeer.testing.contracts.harness import Recorder
from upstreams import FRONTS, UPSTREAMS, Upstream, echo, front, upstream

BOTH = pytest.mark.parametrize(
    ("before", "behind"), [(b, "websockets") for b in FRONTS] + [("python", u) for u in UPSTREAMS]
)


@BOTH
async def test_messages_keep_their_kind_their_content_and_their_order(before: str, behind: str) -> None:
    messages: list[Any] = ["", "text", "ünï – 🎉", b"", b"\x00\xff\x80", "x" * 70_000, b"y" * 300_000]
    messages += [str(number) for number in range(200)]
    async with upstream(behind) as up, front(before, proxy(up.url)) as connect, connect("/") as client:
        sending = asyncio.create_task(send_all(client, messages))
        assert [await client.receive() for _ in messages] == messages
        await sending
        assert up.of("message") == messages


@BOTH
async def test_peers_have_an_upstream_each(before: str, behind: str) -> None:
    async with (
        upstream(behind) as up,
        front(before, proxy(up.url)) as connect,
        connect("/a") as one,
        connect("/b") as two,
    ):
        await one.send("one")
        await two.send("two")
        assert (await one.receive(), await two.receive()) == ("one", "two")
        await one.close()
        await up.wait_for("close")
        await two.send("still here")
        assert await two.receive() == "still here"


async def send_all(client: Any, messages: list[Any]) -> None:
    for message in messages:
        await client.send(message)


# Closing.


@BOTH
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "leaving"), (3000, "x"), (4321, "grün" * 24)])
async def test_the_client_closes(before: str, behind: str, code: int, reason: str) -> None:
    async with upstream(behind) as up, front(before, proxy(up.url)) as connect, connect("/") as client:
        await echo(client)
        await client.close(code, reason)
        details = await up.wait_for("close")
        assert (details.code, details.reason) == (code, reason)


@pytest.mark.parametrize("before", FRONTS)
async def test_a_close_frame_without_a_code_stays_one(before: str) -> None:
    async with upstream("websockets") as up, front(before, proxy(up.url)) as connect:
        client = await connect("/")
        await echo(client)
        if before == "memory":
            await client.close(1005)
        else:
            await client._connection.close(None)
        details = await up.wait_for("close")
        assert (details.code, details.reason, details.was_clean) == (1005, "", True)


@BOTH
async def test_a_client_that_vanishes_has_gone_away(before: str, behind: str) -> None:
    """1006 cannot stand in a close frame."""
    async with upstream(behind) as up, front(before, proxy(up.url)) as connect:
        client = await connect("/")
        await echo(client)
        client.terminate()
        details = await up.wait_for("close")
        assert (details.code, details.reason, details.was_clean) == (1001, "", True)


@BOTH
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "done"), (1001, ""), (1011, "oh"), (1012, "back soon"), (4000, "ü" * 61)]
)
async def test_the_upstream_closes(before: str, behind: str, code: int, reason: str) -> None:
    recorder = Recorder()
    async with upstream(behind) as up:
        made = proxy(up.url)
        async with front(before, recorder, resolve=lambda request: made) as connect, connect("/") as client:
            await echo(client)
            await client.send("last words")
            await up.wait_for("message", 2)
            await up.close_all(code, reason)
            assert await client.receive() == "last words"
            with pytest.raises(ConnectionClosed) as closed:
                await client.receive()
            assert (closed.value.code, closed.value.reason) == (code, reason)
            details = await recorder.wait_for("close")
            assert (details.code, details.reason) == (code, reason)


@pytest.mark.parametrize("before", FRONTS)
async def test_an_upstream_that_closes_without_a_code_says_1000(before: str) -> None:
    """No server of ours can send a close frame without one."""
    async with upstream("websockets") as up, front(before, proxy(up.url)) as connect:
        client = await connect("/")
        await echo(client)
        await up.connections[0].close(None)
        assert await client.wait_closed() == 1000
        assert client.close_reason == ""


@BOTH
async def test_a_lost_upstream_is_1011(before: str, behind: str) -> None:
    async with upstream(behind) as up, front(before, proxy(up.url)) as connect:
        client = await connect("/")
        await echo(client)
        up.drop_all()
        assert await client.wait_closed() == 1011
        assert client.close_reason == "upstream error"


async def test_a_hub_that_closes_tells_the_upstream() -> None:
    async with upstream("websockets") as up:
        hub = Hub(proxy(up.url))
        client = await connect_in_memory(hub)
        await echo(client)
        await hub.close(1012, "restart")
        assert (await up.wait_for("close")).code == 1012
        assert await client.wait_closed() == 1012


# Fragments, sizes, pings.


@pytest.mark.parametrize("before", FRONTS)
async def test_fragments_are_put_together(before: str) -> None:
    async with upstream("websockets") as up, front(before, proxy(up.url)) as connect, connect("/") as client:
        await echo(client)
        await up.connections[0].send(["grü", "n", "", " und", " blau"])
        assert await client.receive() == "grün und blau"
        await up.connections[0].send([b"a" * 1000] * 300)
        assert await client.receive() == b"a" * 300_000
        if before != "memory":
            await client._connection.send([b"b" * 1000] * 300)
            assert await client.receive() == b"b" * 300_000


@BOTH
async def test_messages_up_to_the_limit_of_the_hub_go_through(before: str, behind: str) -> None:
    most = 900_000
    limits = Limits(max_message_size=most, close_timeout=1.0)
    async with upstream(behind) as up, front(before, proxy(up.url), limits=limits) as connect, connect("/") as client:
        await client.send(b"x" * most)
        assert await client.receive() == b"x" * most


@pytest.mark.parametrize("before", FRONTS)
async def test_a_message_of_the_upstream_beyond_the_limit_closes_both(before: str) -> None:
    limits = Limits(max_message_size=1000, close_timeout=1.0)
    async with upstream("websockets") as up, front(before, proxy(up.url), limits=limits) as connect:
        client = await connect("/")
        await echo(client)
        await up.connections[0].send("x" * 1000)
        assert await client.receive() == "x" * 1000
        await up.connections[0].send("ü" * 501)
        assert await client.wait_closed() == 1011
        assert (await up.wait_for("close")).code == 1009


@pytest.mark.parametrize("before", ["native", "python", "uvicorn", "memory"])
async def test_pings_are_answered_and_go_no_further(before: str) -> None:
    async with upstream("python") as up, front(before, proxy(up.url)) as connect, connect("/") as client:
        await echo(client)
        await client.ping(b"of the client")
        up.peers[0].ping(b"of the upstream")
        assert await up.wait_for("pong") == b"of the upstream"
        await echo(client)
        assert up.of("ping") == []


# The handshake.


@pytest.mark.parametrize("before", FRONTS)
async def test_the_target_says_path_and_query(before: str) -> None:
    async with (
        upstream("websockets") as up,
        front(before, proxy(f"{up.url}/caf%C3%A9/x?token=a%20b&n=1")) as connect,
        connect("/other?ignored=1") as client,
    ):
        await echo(client)
        assert up.of("request")[0][0] == "/caf%C3%A9/x?token=a%20b&n=1"


@pytest.mark.parametrize("before", FRONTS)
async def test_nothing_of_the_client_is_forwarded_by_itself(before: str) -> None:
    headers = {"cookie": "session=secret", "authorization": "Bearer secret", "x-token": "secret"}
    async with upstream("websockets") as up, front(before, proxy(up.url)) as connect:
        async with connect("/", headers=headers) as client:
            await echo(client)
        _, sent, _ = up.of("request")[0]
        assert "secret" not in str(sent)
        assert {name for name, _ in sent} == {
            "host",
            "upgrade",
            "connection",
            "sec-websocket-key",
            "sec-websocket-version",
        }


@pytest.mark.parametrize("before", FRONTS)
@pytest.mark.parametrize(
    ("forward", "offered", "seen", "told"),
    [
        (True, ["v2.chat", "v1.chat"], ["v2.chat", "v1.chat"], "v2.chat"),
        (True, [], [], ""),
        (False, ["v2.chat"], [], ""),
        ("fixed", ["v2.chat"], ["fixed"], "v2.chat"),
        ("fixed", [], ["fixed"], ""),
        (["a", " b ", "a"], ["v2.chat"], ["a", "b"], "v2.chat"),
        ({"v2.chat": "inner"}, ["v2.chat", "other"], ["inner", "other"], "v2.chat"),
        ({"a": "same", "b": "same"}, ["a", "b"], ["same"], "a"),
        (lambda peer: f"for-{peer.namespace.strip('/')}", ["v2.chat"], ["for-room"], "v2.chat"),
        (lambda peer: None, ["v2.chat"], [], "v2.chat"),
        (lambda peer: ["not a token", "x\r\ny: z", "fine"], ["v2.chat"], ["fine"], "v2.chat"),
    ],
)
async def test_subprotocols(before: str, forward: Any, offered: list[str], seen: list[str], told: str) -> None:
    async with upstream("websockets") as up, front(before, proxy(up.url, forward_protocol=forward)) as connect:
        async with connect("/room", subprotocols=offered) as client:
            assert client.protocol == told
            await echo(client)
        assert up.of("request")[0][2] == seen


async def test_what_the_upstream_chooses_does_not_change_what_the_client_was_told() -> None:
    """That was said before the upstream was asked, as crossws does it."""
    async with (
        upstream("python", Upstream(protocol="second")) as up,
        front("python", proxy(up.url)) as connect,
        connect("/", subprotocols=["first", "second"]) as client,
    ):
        assert client.protocol == "first"
        await echo(client)


async def test_the_hooks_of_a_hub_come_before_the_proxy() -> None:
    """How a proxy gets its authentication."""

    def upgrade(request: Request) -> Any:
        if request.headers.get("x-token") != "right":
            return Response("no entry", 401)
        return {"context": {"user": "ada"}}

    async with upstream("websockets") as up:
        made = proxy(up.url, headers=lambda peer: {"x-user": peer.context["user"]})
        hub = Hub(define_hooks(upgrade=upgrade), resolve=lambda request: made)
        with pytest.raises(HandshakeRefused):
            await connect_in_memory(hub)
        async with connect_in_memory(hub, headers={"x-token": "right"}) as client:
            await echo(client)
        assert ("x-user", "ada") in up.of("request")[0][1]
        assert len(up.of("request")) == 1
