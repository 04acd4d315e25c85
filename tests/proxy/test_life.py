"""The life of a proxied peer: before its upstream is open, what is called back, and clients that are silent."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from crosspeer import Hub, Limits, Peer, proxy
from crosspeer.testing import connect
from crosspeer.testing.contracts.harness import Recorder
from crosspeer.upstream import UpstreamClosed
from crosspeer.upstream.link import MAX_EARLY
from upstreams import FRONTS, Callbacks, Upstream, echo, front, raw_upstream, silence, upstream

# Before the upstream is open.


@pytest.mark.parametrize("before", FRONTS)
async def test_what_comes_early_is_kept_and_sent_in_order(before: str) -> None:
    go_on = asyncio.Event()
    async with upstream("websockets") as up:

        async def found(peer: Peer) -> str:
            await go_on.wait()
            return up.url

        async with front(before, proxy(found, allow="127.0.0.1")) as dial, dial("/") as client:
            for number in range(100):
                await client.send(str(number))
            go_on.set()
            await client.send(b"late")
            expected: list[Any] = [*map(str, range(100)), b"late"]
            assert [await client.receive() for _ in expected] == expected


@pytest.mark.parametrize("before", FRONTS)
async def test_without_a_bound_of_its_own_the_client_waits_instead(before: str) -> None:
    """It is the hub's bound that holds then: the peer is not read further."""
    go_on = asyncio.Event()
    limits = Limits(max_waiting_messages=2, close_timeout=1.0)
    async with upstream("websockets") as up:

        async def found(peer: Peer) -> str:
            await go_on.wait()
            return up.url

        made = proxy(found, allow="127.0.0.1", max_buffer_size=None)
        async with front(before, made, limits=limits) as dial, dial("/") as client:
            sending = asyncio.create_task(send_all(client, 300))
            await asyncio.sleep(0.2)
            (link,) = made._links.values()
            assert not link._early
            go_on.set()
            for number in range(300):
                assert await client.receive() == f"{number:04}" * 5000
            await sending


async def send_all(client: Any, count: int) -> None:
    for number in range(count):
        await client.send(f"{number:04}" * 5000)


async def test_many_small_early_messages_make_the_client_wait_too() -> None:
    go_on = asyncio.Event()
    async with upstream("websockets") as up:

        async def found(peer: Peer) -> str:
            await go_on.wait()
            return up.url

        made = proxy(found, allow="127.0.0.1")
        client = await connect(made)
        sending = asyncio.create_task(send_numbers(client, 3000))
        (link,) = made._links.values()
        async with asyncio.timeout(10):
            while len(link._early) < MAX_EARLY:
                await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(link._early) == MAX_EARLY
        go_on.set()
        for number in range(3000):
            assert await client.receive() == str(number)
        await sending
        await client.close()


async def send_numbers(client: Any, count: int) -> None:
    for number in range(count):
        await client.send(str(number))


@pytest.mark.parametrize("before", FRONTS)
async def test_an_upstream_that_does_not_open_in_time_is_1011(before: str) -> None:
    callbacks = Callbacks()
    async with raw_upstream(silence) as url:
        made = proxy(url, connect_timeout=0.3, **callbacks.options)
        async with front(before, made) as dial:
            client = await dial("/")
            assert (await client.wait_closed(), client.close_reason) == (1011, "upstream connect timeout")
            closed = await callbacks.closed()
            assert (closed.source, closed.code, closed.url) == ("proxy", 1011, url + "/")
            assert isinstance(closed.error, TimeoutError)
            assert callbacks.names == ["connect", "close"]
        assert made._links == {}


async def test_the_time_to_connect_covers_the_search_for_the_target() -> None:
    cancelled = asyncio.Event()

    async def never(peer: Peer) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    client = await connect(proxy(never, connect_timeout=0.1))
    assert (await client.wait_closed(), client.close_reason) == (1011, "upstream connect timeout")
    await asyncio.wait_for(cancelled.wait(), 5)


@pytest.mark.parametrize("before", FRONTS)
async def test_a_client_that_leaves_ends_the_search(before: str) -> None:
    searching, cancelled = asyncio.Event(), asyncio.Event()

    async def never(peer: Peer) -> str:
        searching.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with front(before, proxy(never, connect_timeout=None)) as dial:
        client = await dial("/")
        await asyncio.wait_for(searching.wait(), 5)
        await client.close()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_client_that_leaves_while_its_message_waits_for_the_upstream_is_let_go() -> None:
    """Its hook waits, and without help it would wait for ever."""
    recorder = Recorder()

    async def never(peer: Peer) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    made = proxy(never, connect_timeout=None, max_buffer_size=None)
    hub = Hub(recorder, resolve=lambda request: made)
    client = await connect(hub)
    await client.send("x")
    client.terminate()
    await recorder.wait_for("close", timeout=10)
    await client.wait_closed()
    await hub.close()
    assert made._links == {}
    async with asyncio.timeout(5):
        await made._tasks.wait()


class Broken(Exception):
    pass


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_search_that_fails_is_1011_and_logged(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fail(peer: Peer) -> str:
        raise Broken("the secret is 42")

    async def fail_later(peer: Peer) -> str:
        return fail(peer)

    client = await connect(proxy(fail_later if is_async else fail))
    assert (await client.wait_closed(), client.close_reason) == (1011, "upstream setup failed")
    assert "the secret is 42" in caplog.text


@pytest.mark.parametrize("found", [None, 1, "not a url", "http://example.com", b"ws://example.com"])
async def test_a_function_that_finds_nonsense_is_1011(found: Any) -> None:
    client = await connect(proxy(lambda peer: found))
    assert (await client.wait_closed(), client.close_reason) == (1011, "upstream setup failed")


async def test_an_upstream_that_is_not_there_is_1011(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    callbacks = Callbacks()
    client = await connect(proxy(f"ws://127.0.0.1:{port}", **callbacks.options))
    assert (await client.wait_closed(), client.close_reason) == (1011, "upstream error")
    closed = await callbacks.closed()
    assert (closed.source, closed.code) == ("upstream", 1011)
    assert isinstance(closed.error, ConnectionRefusedError)
    assert "did not open" in caplog.text


# Callbacks.


@pytest.mark.parametrize("before", FRONTS)
async def test_the_callbacks_of_a_whole_life(before: str) -> None:
    callbacks = Callbacks()
    async with upstream("websockets") as up:
        async with front(before, proxy(up.url + "/x", **callbacks.options)) as dial, dial("/") as client:
            await echo(client)
            await client.close(4000, "over")
            closed = await callbacks.closed()
        assert callbacks.names == ["connect", "open", "close"]
        assert callbacks.events.of("connect") == callbacks.events.of("open") == [up.url + "/x"]
        assert closed == UpstreamClosed(up.url + "/x", "client", 4000, "over")


@pytest.mark.parametrize(("code", "seen"), [(4000, 4000), (None, 1005)])
async def test_the_end_that_the_upstream_makes_is_told_as_it_came(code: int | None, seen: int) -> None:
    callbacks = Callbacks()
    async with upstream("websockets") as up:
        client = await connect(proxy(up.url, **callbacks.options))
        await echo(client)
        await up.close_all(code)
        closed = await callbacks.closed()
        assert (closed.source, closed.code, closed.error) == ("upstream", seen, None)
        await client.wait_closed()


async def test_a_lost_upstream_is_told_with_its_error() -> None:
    callbacks = Callbacks()
    async with upstream("websockets") as up:
        client = await connect(proxy(up.url, **callbacks.options))
        await echo(client)
        up.drop_all()
        closed = await callbacks.closed()
        assert (closed.source, closed.code) == ("upstream", 1006)
        assert closed.error is not None
        assert await client.wait_closed() == 1011


async def test_a_callback_before_the_dial_may_close_the_peer() -> None:
    callbacks = Callbacks()

    async def refuse(peer: Peer, url: str) -> None:
        await asyncio.sleep(0)
        callbacks.events.note("connect", url)
        peer.close(4003, "not there")

    async with upstream("websockets") as up:
        client = await connect(proxy(up.url, **(callbacks.options | {"on_upstream_connect": refuse})))
        assert (await client.wait_closed(), client.close_reason) == (4003, "not there")
        closed = await callbacks.closed()
        assert (closed.source, closed.code) == ("client", 4003)
        assert callbacks.names == ["connect", "close"]
        assert up.of("request") == []


async def test_a_callback_before_the_dial_that_raises_is_1011(caplog: pytest.LogCaptureFixture) -> None:
    callbacks = Callbacks()

    def fail(peer: Peer, url: str) -> None:
        raise Broken("the secret is 42")

    async with upstream("websockets") as up:
        client = await connect(proxy(up.url, **(callbacks.options | {"on_upstream_connect": fail})))
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream setup failed")
        assert up.of("request") == []
    assert callbacks.names == []
    assert "the secret is 42" in caplog.text


async def test_other_callbacks_that_raise_are_logged_and_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(peer: Peer, value: Any) -> None:
        raise Broken(f"{type(value).__name__}: the secret is 42")

    async with upstream("websockets") as up:
        async with connect(proxy(up.url, on_upstream_open=fail, on_upstream_close=fail)) as client:
            await echo(client)
        assert "str: the secret is 42" in caplog.text
        assert "UpstreamClosed: the secret is 42" in caplog.text


@pytest.mark.parametrize("engine", ["native", "python", "uvicorn"])
async def test_the_end_is_told_also_when_the_server_stops(engine: str) -> None:
    callbacks = Callbacks()
    async with upstream("websockets") as up:
        async with front(engine, proxy(up.url, **callbacks.options)) as dial:
            client = await dial("/")
            await echo(client)
        closed = await callbacks.closed()
        assert (closed.source, closed.code) == ("client", 1012)
        assert (await up.wait_for("close")).code == 1012
        client.terminate()


# Idle clients.


@pytest.mark.parametrize("before", FRONTS)
async def test_a_client_that_is_silent_too_long_is_1001_on_both_sides(before: str) -> None:
    callbacks = Callbacks()
    async with upstream("websockets") as up:
        made = proxy(up.url, client_idle_timeout=0.5, **callbacks.options)
        async with front(before, made) as dial:
            client = await dial("/")
            await echo(client)
            talking = asyncio.create_task(keep_talking(up))
            assert (await client.wait_closed(timeout=10), client.close_reason) == (1001, "client idle timeout")
            talking.cancel()
            assert (await up.wait_for("close")).code == 1001
            closed = await callbacks.closed()
            assert (closed.source, closed.code) == ("proxy", 1001)


async def keep_talking(up: Upstream) -> None:
    """What the upstream says is no sign of the client."""
    while True:
        await up.connections[0].send("news")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("sign", ["message", "ping"])
async def test_a_client_that_says_something_is_not_idle(sign: str) -> None:
    async with upstream("websockets") as up, front("python", proxy(up.url, client_idle_timeout=1.0)) as dial:
        client = await dial("/")
        for _ in range(20):
            if sign == "message":
                await echo(client)
            else:
                await client.ping(b"x")
            await asyncio.sleep(0.1)
        assert client.close_code is None
        await client.close()


async def test_a_client_that_the_upstream_holds_up_is_not_idle() -> None:
    """It cannot say anything: we do not read it."""
    go_on = asyncio.Event()
    async with upstream("websockets") as up:

        async def found(peer: Peer) -> str:
            await go_on.wait()
            return up.url

        made = proxy(found, allow="127.0.0.1", max_buffer_size=None, client_idle_timeout=0.2)
        async with connect(made) as client:
            await client.send("x")
            for _ in range(8):
                await asyncio.sleep(0.1)
            go_on.set()
            assert await client.receive() == "x"
