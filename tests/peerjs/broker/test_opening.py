"""How a client comes in, and how it is turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from brokers import OPEN, Clients, HandClock, error, refused, relays, settle, signal
from crosspeer.peerjs import BrokerLimits
from crosspeer.testing import HandshakeRefused, connect

if TYPE_CHECKING:
    from crosspeer import Request

NO_PARAMETERS = error("No id, token, or key supplied to websocket server")
ID_TAKEN = {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}

MakeClients = Callable[..., Clients]


async def test_open_is_exactly_this_text(clients: Clients) -> None:
    client = await clients.dial("alice")
    assert await client.receive() == '{"type":"OPEN"}'
    assert list(clients.broker.clients) == ["alice"]
    registered = clients.broker.clients["alice"]
    assert (registered.id, registered.token, registered.address) == ("alice", "t", "127.0.0.1")


@pytest.mark.parametrize("missing", ["id", "token", "key"])
@pytest.mark.parametrize("value", [None, ""])
async def test_id_token_and_key_are_needed(clients: Clients, missing: str, value: str | None) -> None:
    client = await clients.dial(**{"id": "a", "token": "t", "key": "peerjs", missing: value})  # type: ignore[arg-type]
    assert await refused(client) == (NO_PARAMETERS, 1008)


async def test_the_key_has_to_be_right(make: MakeClients) -> None:
    clients = make(key="secret")
    assert await refused(await clients.dial()) == (error("Invalid key provided"), 4503)
    client = await clients.dial(key="secret")
    assert await client.receive_json() == OPEN


async def test_a_parameter_that_comes_twice_has_its_last_value(clients: Clients) -> None:
    async with connect(clients.broker.hub, "/peerjs?key=wrong&id=x&token=t&key=peerjs&id=a&version=1.5.5") as client:
        assert await client.receive_json() == OPEN
        assert list(clients.broker.clients) == ["a"]


@pytest.mark.parametrize("id", ["a", "A-b_c d", "0", "a" * 64, "c871c978-c779-4258-bbda-3fd8ea7d8d10", "null"])
async def test_ids_that_peerjs_allows(clients: Clients, id: str) -> None:
    await clients.join(id)
    assert list(clients.broker.clients) == [id]


@pytest.mark.parametrize("id", ["a--b", "-a", "a-", "a.b", "é", "a  b", " a", "a" * 65, "a\n", "a/b", "<b>", "a\x00"])
async def test_ids_that_it_does_not(clients: Clients, id: str) -> None:
    assert await refused(await clients.dial(id)) == (error("Invalid id"), 1008)


async def test_a_token_has_a_length(clients: Clients) -> None:
    assert await refused(await clients.dial(token="t" * 4097)) == (error("Invalid token provided"), 1008)
    await clients.join("a", "t" * 4096)


async def test_an_id_with_another_token_is_taken(clients: Clients) -> None:
    first = await clients.join("a", "one")
    second = await clients.join("b")
    third = await clients.dial("a", "two")
    assert await third.receive() == '{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}'
    assert await third.wait_closed() == 4504
    await relays(first, "a", second, "b")


async def test_an_id_is_free_again_when_its_socket_closes(clients: Clients) -> None:
    first = await clients.join("a", "one")
    await first.close()
    await clients.join("a", "two")


async def test_there_is_a_limit_and_a_place_becomes_free(make: MakeClients) -> None:
    clients = make(concurrent_limit=2)
    await clients.join("a")
    second = await clients.join("b")
    assert await refused(await clients.dial("c")) == (error("Server has reached its concurrent user limit"), 1013)
    await clients.join("a")  # a take-over takes no place
    await second.close()
    await clients.join("c")


async def test_one_address_may_have_a_limit_of_its_own(make: MakeClients) -> None:
    clients = make(limits=BrokerLimits(max_clients_per_address=1))
    first = await clients.join("a")
    told, code = await refused(await clients.dial("b"))
    assert (told, code) == (error("Server has reached its concurrent user limit"), 1013)
    await clients.join("b", client=("203.0.113.9", 1))
    await first.close()
    await clients.join("c")


# Take-over.


async def test_who_comes_again_with_its_token_takes_over(clients: Clients) -> None:
    old = await clients.join("a", "mine")
    other = await clients.join("b")
    new = await clients.dial("a", "mine")
    assert await old.wait_closed() == 4501
    assert old.close_reason == "replaced"
    assert await new.receive_json() == OPEN, "so that a peerjs client that reconnects sees `open`"
    assert len(clients.broker.clients) == 2
    assert clients.broker.metrics.takeovers == 1
    await relays(other, "b", new, "a")
    await relays(new, "a", other, "b")


async def test_the_old_socket_is_closed_before_the_new_one_is_opened(clients: Clients) -> None:
    states: list[Any] = []
    old = await clients.join("a")
    peer = clients.broker.clients["a"].peer
    clients.broker.on("connection", lambda client: states.append((peer.websocket.ready_state, client.peer is peer)))
    await clients.join("a")
    assert states == [(2, False)]
    assert await old.wait_closed() == 4501


async def test_the_end_of_a_replaced_socket_changes_nothing(clients: Clients) -> None:
    left: list[str] = []
    clients.broker.on("disconnect", lambda client: left.append(client.id))
    old = await clients.join("a")
    new = await clients.join("a")
    old.terminate()
    await settle()
    assert left == []
    other = await clients.join("b")
    await relays(other, "b", new, "a")
    await new.close()
    assert left == ["a"]


async def test_what_a_replaced_socket_still_says_is_not_heard(clients: Clients, clock: HandClock) -> None:
    heard: list[Any] = []
    old = await clients.join("a")
    clients.broker.on("message", lambda client, message: heard.append(message))
    peer = clients.broker.clients["a"].peer
    await clients.join("a")
    peer._session.receive(signal("OFFER", "b"))
    assert heard == []
    await old.wait_closed()


async def test_take_over_gives_what_waits(clients: Clients) -> None:
    """A peer that reloads its page has a socket that nobody has found dead yet."""
    bob = await clients.join("bob")
    await bob.send(signal("OFFER", "a", {"n": 1}))
    await bob.send(signal("CANDIDATE", "a", {"n": 2}))
    await settle()
    alice = await clients.join("a")
    assert [(await alice.receive_json())["payload"]["n"] for _ in range(2)] == [1, 2]
    assert clients.broker.metrics.waiting_messages == 0


# LEAVE without a destination.


async def test_leave_without_a_destination_gives_the_id_up(clients: Clients) -> None:
    left: list[str] = []
    clients.broker.on("disconnect", lambda client: left.append(client.id))
    first = await clients.join("a", "one")
    await first.send('{"type":"LEAVE"}')
    await settle()
    assert left == ["a"]
    second = await clients.join("a", "two")
    other = await clients.join("b")
    await first.send(signal("OFFER", "b"))
    assert await first.receive_json() == error("this id has left")
    await first.close()
    assert left == ["a"], "the end of its socket is not the end of the new owner"
    await relays(other, "b", second, "a")


# Authentication.


@pytest.mark.parametrize("is_async", [False, True])
async def test_authenticate_sees_request_id_and_token(make: MakeClients, is_async: bool) -> None:
    seen: list[Any] = []

    def check(request: Request, id: str, token: str) -> bool:
        seen.append((request.headers["cookie"], request.url.path, id, token))
        return token == "good"

    async def check_later(request: Request, id: str, token: str) -> bool:
        await asyncio.sleep(0)
        return check(request, id, token)

    clients = make(authenticate=check_later if is_async else check)
    bad = await clients.dial("a", "bad", headers={"cookie": "x=1"})
    assert await refused(bad) == (error("Invalid token provided"), 1008)
    good = await clients.join("a", "good", headers={"cookie": "x=1"})
    assert seen == [("x=1", "/peerjs", "a", "bad"), ("x=1", "/peerjs", "a", "good")]
    await good.send(signal("OFFER", "a"))
    assert (await good.receive_json())["src"] == "a"


@pytest.mark.parametrize("answer", [None, False, RuntimeError("broken")])
async def test_what_is_no_permission_is_a_refusal(
    make: MakeClients, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def check(request: Request, id: str, token: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    clients = make(authenticate=check)
    assert await refused(await clients.dial("a")) == (error("Invalid token provided"), 1008)
    assert ("authenticate failed" in caplog.text) == isinstance(answer, Exception)


async def test_messages_sent_while_authentication_runs_wait_for_it(make: MakeClients) -> None:
    decided = asyncio.Event()

    async def check(request: Request, id: str, token: str) -> bool:
        await decided.wait()
        return True

    clients = make(authenticate=check)
    client = await clients.dial("a")
    await client.send(signal("OFFER", "a"))
    await settle()
    assert clients.broker.metrics.registered == 0
    decided.set()
    assert await client.receive_json() == OPEN
    assert (await client.receive_json())["type"] == "OFFER"


async def test_who_leaves_while_authentication_runs_is_not_registered(make: MakeClients) -> None:
    decided = asyncio.Event()

    async def check(request: Request, id: str, token: str) -> bool:
        await decided.wait()
        return True

    clients = make(authenticate=check)
    client = await clients.dial("a")
    client.terminate()
    decided.set()
    await settle()
    assert clients.broker.metrics.registered == 0


# The handshake.


@pytest.mark.parametrize("path", ["/", "/peerjs/", "/PEERJS", "/peerjs/id", "/other/peerjs", "//peerjs", "/xpeerjs"])
async def test_any_other_path_is_refused_in_the_handshake(clients: Clients, path: str) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        await connect(clients.broker.hub, f"{path}?key=peerjs&id=a&token=t")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("option", "path"),
    [("/", "/peerjs"), ("/myapp", "/myapp/peerjs"), ("myapp", "/myapp/peerjs"), ("/a//b/", "/a/b/peerjs")],
)
async def test_the_path_option_is_put_right(make: MakeClients, option: str, path: str) -> None:
    clients = make(path=option)
    async with connect(clients.broker.hub, f"{path}?key=peerjs&id=a&token=t") as client:
        assert await client.receive_json() == OPEN


async def test_too_many_fields_are_no_query(clients: Clients) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        await connect(clients.broker.hub, "/peerjs?key=peerjs&id=a&token=t" + "&x=1" * 100)
    assert caught.value.status == 400


async def test_any_page_may_connect_unless_origins_are_named(make: MakeClients) -> None:
    client = await make().join("a", origin="https://anywhere.example")
    await client.close()
    clients = make(origins=["https://good.example"])
    await clients.join("a", origin="https://good.example")
    await clients.join("b", origin="http://testserver")
    with pytest.raises(HandshakeRefused) as caught:
        await clients.dial("c", origin="https://evil.example")
    assert caught.value.status == 403


# Options.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"expire_timeout": 0}, "expire_timeout is a number of seconds"),
        ({"alive_timeout": 90_001}, "alive_timeout is a number of seconds up to a day, not 90001"),
        ({"cleanup_out_msgs": "1"}, "cleanup_out_msgs is a number of seconds"),
        ({"concurrent_limit": 0}, "concurrent_limit is a positive number"),
        ({"key": ""}, "the key must not be empty"),
    ],
)
def test_options_out_of_range(make: MakeClients, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(**options)


def test_limits_out_of_range() -> None:
    with pytest.raises(ValueError, match="relay_rate is a positive number, not 0"):
        BrokerLimits(relay_rate=0)
