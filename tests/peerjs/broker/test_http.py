"""The HTTP routes, as pages and proxies see them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from brokers import Clients, HandClock
from crosspeer.peerjs import BrokerLimits, Turn

MakeClients = Callable[..., Clients]

ABOUT = (
    '{"name":"PeerJS Server","description":"A server side element to broker connections between PeerJS clients.",'
    '"website":"https://peerjs.com/"}'
)


@asynccontextmanager
async def http(clients: Clients, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(clients.broker.asgi, client=(address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


ROUTES = [
    # option, method, path, status, content type, body (None: not looked at)
    ("/", "GET", "/", 200, "application/json; charset=utf-8", ABOUT),
    ("/", "GET", "/peerjs/id", 200, "text/plain; charset=utf-8", None),
    ("/", "GET", "/peerjs/id/", 200, "text/plain; charset=utf-8", None),
    ("/", "GET", "/peerjs/ID?ts=17.5&version=1.5.5", 200, "text/plain; charset=utf-8", None),
    ("/", "GET", "/peerjs/peers", 401, "text/plain; charset=utf-8", "Unauthorized"),
    ("/", "GET", "/wrong/id", 401, "text/plain; charset=utf-8", "Invalid key provided"),
    ("/", "GET", "/wrong/peers", 401, "text/plain; charset=utf-8", "Invalid key provided"),
    ("/", "GET", "/PEERJS/id", 401, "text/plain; charset=utf-8", "Invalid key provided"),
    ("/", "GET", "/peerjs", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/", "GET", "/peerjs/", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/", "GET", "/peerjs/other", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/", "GET", "/peerjs/id/more", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/", "GET", "/peerjs/turn", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/", "POST", "/peerjs/id", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/", "PUT", "/peerjs/peers", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/", "POST", "/peerjs/a/token/id", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/MyApp", "GET", "/MyApp", 200, "application/json; charset=utf-8", ABOUT),
    ("/MyApp", "GET", "/MyApp/", 200, "application/json; charset=utf-8", ABOUT),
    ("/MyApp", "GET", "/myapp/peerjs/id", 200, "text/plain; charset=utf-8", None),
    ("MyApp/", "GET", "/MYAPP/peerjs/Peers/", 401, "text/plain; charset=utf-8", "Unauthorized"),
    ("/MyApp", "GET", "/", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/MyApp", "GET", "/MyAppendix", 404, "text/plain; charset=utf-8", "Not Found"),
    ("/MyApp", "GET", "/other/MyApp", 404, "text/plain; charset=utf-8", "Not Found"),
]


@pytest.mark.parametrize(("option", "method", "path", "status", "kind", "body"), ROUTES)
async def test_routes(
    make: MakeClients, option: str, method: str, path: str, status: int, kind: str, body: str | None
) -> None:
    async with http(make(path=option)) as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    if body is not None:
        assert answer.text == body
    if status == 200 and body is None:
        assert answer.text == str(uuid.UUID(answer.text)), "a bare UUID, without a line end"


async def test_head_works(clients: Clients) -> None:
    async with http(clients) as client:
        answer = await client.head("/peerjs/id")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "36")


async def test_discovery_lists_ids_in_the_order_of_their_registration(make: MakeClients) -> None:
    clients = make(allow_discovery=True)
    async with http(clients) as client:
        assert (await client.get("/peerjs/peers")).text == "[]"
        for id in ("zoe", "adam", "mia"):
            await clients.join(id)
        await clients.join("zoe")  # a take-over keeps its place
        answer = await client.get("/peerjs/peers")
        assert answer.text == '["zoe","adam","mia"]'
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert (await client.get("/wrong/peers")).status_code == 401


# Ids.


async def test_a_generated_id_is_one_that_nobody_has(make: MakeClients) -> None:
    ids = iter(["alice", "alice", "bob"])
    clients = make(generate_client_id=lambda: next(ids))
    await clients.join("alice")
    async with http(clients) as client:
        assert (await client.get("/peerjs/id")).text == "bob"


async def test_a_generator_may_be_async(make: MakeClients) -> None:
    async def generate() -> str:
        await asyncio.sleep(0)
        return "alice"

    async with http(make(generate_client_id=generate)) as client:
        assert (await client.get("/peerjs/id")).text == "alice"


async def test_a_constant_generator_does_not_loop_for_ever(make: MakeClients, caplog: pytest.LogCaptureFixture) -> None:
    clients = make(generate_client_id=lambda: "alice")
    await clients.join("alice")
    async with http(clients) as client:
        assert (await client.get("/peerjs/id")).status_code == 503
    assert "ids that are taken" in caplog.text


async def test_an_id_that_no_client_may_have_is_not_given(make: MakeClients, caplog: pytest.LogCaptureFixture) -> None:
    async with http(make(generate_client_id=lambda: "<script>")) as client:
        answer = await client.get("/peerjs/id")
    assert answer.status_code == 500
    assert "<script>" not in answer.text
    assert "which no client may have" in caplog.text


# CORS.

A, B = "https://a.example", "https://b.example"
CORS = [
    # option, Origin, Access-Control-Allow-Origin, Vary
    (None, None, None, "Origin"),
    (None, A, A, "Origin"),
    (None, "null", "null", "Origin"),
    ([A, B], A, A, "Origin"),
    ([A, B], B, B, "Origin"),
    ([A, B], "https://c.example", None, "Origin"),
    ([A, B], "https://a.example.evil.example", None, "Origin"),
    ([A], None, None, "Origin"),
    (["*"], A, None, "Origin"),
    (A, A, A, "Origin"),
    ("*", A, "*", None),
    ("*", None, "*", None),
]


@pytest.mark.parametrize(("option", "origin", "allowed", "vary"), CORS)
@pytest.mark.parametrize("path", ["/", "/peerjs/id", "/peerjs/peers", "/nothing/here", "/wrong/id"])
async def test_cors(
    make: MakeClients, option: Any, origin: str | None, allowed: str | None, vary: str | None, path: str
) -> None:
    async with http(make(cors=option)) as client:
        answer = await client.get(path, headers={} if origin is None else {"origin": origin})
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert answer.headers.get("vary") == vary
    assert "access-control-allow-credentials" not in answer.headers


async def test_outside_of_the_base_there_are_no_cors_headers(make: MakeClients) -> None:
    async with http(make(path="/myapp")) as client:
        answer = await client.get("/", headers={"origin": A})
        assert "vary" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert (await client.options("/", headers={"origin": A})).status_code == 404


@pytest.mark.parametrize("path", ["/", "/peerjs/id", "/anything/at/all"])
async def test_preflight(clients: Clients, path: str) -> None:
    wanted = {"origin": A, "access-control-request-method": "GET", "access-control-request-headers": "x-a, x-b"}
    async with http(clients) as client:
        answer = await client.options(path, headers=wanted)
        assert answer.status_code == 204
        assert answer.content == b""
        headers = dict(answer.headers)
        assert headers == {
            "content-length": "0",
            "access-control-allow-origin": A,
            "access-control-allow-methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
            "access-control-allow-headers": "x-a, x-b",
            "vary": "Origin, Access-Control-Request-Headers",
        }
        bare = await client.options(path)
        assert "access-control-allow-headers" not in bare.headers


# Rates and addresses.


async def test_an_address_has_a_rate(make: MakeClients, clock: HandClock) -> None:
    clients = make(limits=BrokerLimits(requests_per_address=3))
    async with http(clients) as client, http(clients, "203.0.113.9") as other:
        for _ in range(3):
            assert (await client.get("/peerjs/id")).status_code == 200
        answer = await client.get("/peerjs/id")
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["vary"]) == (429, "1", "Origin")
        assert (await client.get("/peerjs/peers")).status_code == 429
        assert (await client.get("/")).status_code == 200, "what it is may be asked for always"
        assert (await other.get("/peerjs/id")).status_code == 200
        await clock.advance(0.4)
        assert (await client.get("/peerjs/id")).status_code == 200
        assert clients.broker.metrics.refused == {"too many requests": 2}


@pytest.mark.parametrize(
    ("one", "another", "are_the_same"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.8", False),
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("2001:db8::1", "2001:db8::2:3:4:5", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("not:an:address", "not:an:address", True),
    ],
)
async def test_what_counts_as_one_address(make: MakeClients, one: str, another: str, are_the_same: bool) -> None:
    clients = make(limits=BrokerLimits(requests_per_address=1))
    async with http(clients, one) as first, http(clients, another) as second:
        assert (await first.get("/peerjs/id")).status_code == 200
        assert (await second.get("/peerjs/id")).status_code == (429 if are_the_same else 200)


@pytest.mark.parametrize("proxied", [False, True])
async def test_the_nearest_proxy_is_believed_when_there_is_to_be_one(
    make: MakeClients, proxied: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clients = make(proxied=proxied, limits=BrokerLimits(requests_per_address=1, max_clients_per_address=1))
    async with http(clients) as client:
        statuses = [
            (await client.get("/peerjs/id", headers={"x-forwarded-for": chain})).status_code
            for chain in ("198.51.100.1, 203.0.113.1", "198.51.100.1, 203.0.113.2", "198.51.100.2, 203.0.113.1")
        ]
    assert statuses == ([200, 200, 429] if proxied else [200, 429, 429])
    assert ("there seems to be a proxy in front" in caplog.text) == (not proxied)
    if proxied:
        await clients.join("a", headers={"x-forwarded-for": "198.51.100.1, 203.0.113.7"})
        assert clients.broker.clients["a"].address == "203.0.113.7"


# TURN.


async def test_turn_credentials(make: MakeClients) -> None:
    turn = Turn("secret", ["turn:turn.example.com:3478", "turns:turn.example.com"], lifetime=300, now=lambda: 1e9)
    async with http(make(turn=turn)) as client:
        answer = await client.get("/peerjs/turn", params={"id": "alice"})
        digest = hmac.digest(b"secret", b"1000000300:alice", hashlib.sha1)
        assert answer.json() == {
            "urls": ["turn:turn.example.com:3478", "turns:turn.example.com"],
            "username": "1000000300:alice",
            "credential": base64.b64encode(digest).decode(),
            "ttl": 300,
        }
        assert answer.headers["cache-control"] == "no-store"
        assert (await client.get("/peerjs/turn")).json()["username"] == "1000000300"
        assert (await client.get("/peerjs/turn", params={"id": "a:b"})).status_code == 400
        assert (await client.get("/wrong/turn")).status_code == 401
        assert (await client.post("/peerjs/turn")).status_code == 404


async def test_turn_credentials_are_for_who_may_come_in(make: MakeClients) -> None:
    async def check(request: Any, id: str, token: str) -> bool:
        return (id, token, request.headers["x-who"]) == ("alice", "good", "her")

    clients = make(turn=Turn("secret", "turn:a"), authenticate=check)
    async with http(clients) as client:
        good = {"id": "alice", "token": "good"}
        assert (await client.get("/peerjs/turn", params=good, headers={"x-who": "her"})).status_code == 200
        answer = await client.get("/peerjs/turn", params=good | {"token": "bad"}, headers={"x-who": "her"})
        assert (answer.status_code, answer.text) == (401, "Invalid token provided")
        assert (await client.get("/peerjs/turn")).status_code == 401
