"""Event streams against who means ill: fields that want to be others, secrets that are guessed, ids that are absurd."""

from __future__ import annotations

import hmac
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crosspeer import SSE, Event, EventStream, Hub, Limits, Server
from crosspeer.runtime.sse import peers
from crosspeer.testing import HandshakeRefused, events
from crosspeer.testing.contracts.adapter import Chat, Echo
from crosspeer.wire.sse import EventReader, encode_comment, encode_event
from crosspeer.wire.streamed import read_position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = "https://good.example"
ACCEPT = {"accept": "text/event-stream"}


# P6, P7: nothing that is written becomes another field, event or line.

FORGED = "x\n\nevent: close\ndata: forged\n\n"
DATA = [
    # data, how it is read
    ("a\nb\n\nc", "a\nb\n\nc"),
    ("a\rb\r\nc\n\rd", "a\nb\nc\n\nd"),
    (FORGED, FORGED),
    (FORGED.replace("\n", "\r"), FORGED),
    (FORGED.replace("\n", "\r\n"), FORGED),
    ("x\u2028event: close\u2028\u2028", "x\u2028event: close\u2028\u2028"),
    ("x\x85\x85event: close\x0b\x0c", "x\x85\x85event: close\x0b\x0c"),
    ("\0", "\0"),
    ("\ufeffdata: x", "\ufeffdata: x"),
    (" one space", " one space"),
    (":comment", ":comment"),
    ("id: 7", "id: 7"),
    ("", ""),
    ("\n", "\n"),
]


@pytest.mark.parametrize(("data", "read"), DATA, ids=[repr(row[0]) for row in DATA])
async def test_data_is_data_and_nothing_else(data: str, read: str) -> None:
    async def source(stream: EventStream) -> None:
        await stream.push(data)
        await stream.push(data=data, event="kind", id="1", retry=5)
        await stream.comment(data)
        await stream.push("the end")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await EventStream(source)(scope, receive, send)

    async with Server(app, port=0) as server, httpx.AsyncClient(trust_env=False) as client:
        body = (await client.get(server.url)).content
    reader = EventReader(10_000)
    assert reader.feed(body) == [
        Event(read, "message", ""),
        Event(read, "kind", "1"),
        Event("the end", "message", "1"),
    ]
    assert reader.retry == 5


LINES = ["a\nb", "a\rb", "a\r\nb", "a\n", "\r", "a\0b", "\n\ndata: forged\n\n", "a\ud800"]


@pytest.mark.parametrize("line", LINES, ids=repr)
@pytest.mark.parametrize("field", ["event", "id"])
def test_a_line_that_would_be_two_is_refused(field: str, line: str) -> None:
    with pytest.raises(ValueError, match=r"one line|surrogates"):
        encode_event("x", **{field: line})


@pytest.mark.parametrize("retry", ["1", "1\ndata: forged", 1.5, True, b"1", -1])
def test_a_time_to_wait_is_a_number(retry: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_event("x", retry=retry)


@pytest.mark.parametrize("comment", ["a\n\ndata: forged", "a\r\rdata: forged", "\n", "a\r\ndata: forged\r\n\r\n"])
def test_a_comment_stays_one(comment: str) -> None:
    assert EventReader(1000).feed(encode_comment(comment) + b"\n") == []


@pytest.mark.parametrize("data", [row[0] for row in DATA], ids=repr)
async def test_a_message_to_a_peer_arrives_identical(data: str) -> None:
    async with Server(Hub(Echo()), port=0) as server, events.connect(server.url) as client:
        await client.send(data)
        assert await client.receive() == data


# P8: the way back is for who holds its secret, on the page and the path that it was given to.


class Scene:
    """A server with a peer of a listed page, and another one."""

    def __init__(self, url: str, hooks: Echo, client: events.EventClient) -> None:
        self.url, self.hooks, self.client = url, hooks, client
        self.token = client._token

    async def post(self, token: str | list[str] | None, *, path: str = "/room", **headers: str) -> httpx.Response:
        tokens = [token] if isinstance(token, str) else token or []
        pairs = [("content-type", "text/plain"), *(("x-crossws-id", value) for value in tokens), *headers.items()]
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.post(self.url + path, headers=pairs, content="hello")


@asynccontextmanager
async def scene(**options: Any) -> AsyncIterator[Scene]:
    hooks = Echo()
    hub = Hub(
        resolve=lambda request: hooks if request.url.path in ("/room", "/other") else None, origins=[PAGE], **options
    )
    async with (
        Server(hub, port=0) as server,
        events.connect(server.url + "/room", origin=PAGE) as client,
    ):
        await hooks.wait_for("open")
        yield Scene(server.url, hooks, client)


async def test_the_secret_is_one_and_is_never_the_id() -> None:
    async with scene() as here, events.connect(here.url + "/room") as other:
        tokens = {here.token, other._token}
        assert len(tokens) == 2
        for token in tokens:
            # 128 bits in base64.
            assert len(token) == 22
        await here.client.send("x")
        await here.client.receive()
        position = read_position(here.client.last_event_id)
        assert position is not None
        ids = {peer.id for peer in here.hooks.peers}
        assert tokens.isdisjoint(ids | {position[0]})
        assert here.token not in repr(here.hooks.peers[0].request.headers) + str(here.hooks.peers[0].request.url)


async def test_whoever_has_not_the_secret_gets_one_identical_answer() -> None:
    async with scene(sse=SSE(resume=0.05)) as here:
        async with events.connect(here.url + "/room") as gone:
            expired = gone._token
        await here.hooks.wait_for("close")
        public = here.hooks.peers[0].id
        position = here.client.last_event_id.partition(".")[0]
        answers = [
            await here.post(public, origin=PAGE),
            await here.post("A" * 22, origin=PAGE),
            await here.post(here.token[:-1], origin=PAGE),
            await here.post(here.token + "A", origin=PAGE),
            await here.post(here.token.swapcase(), origin=PAGE),
            await here.post("", origin=PAGE),
            await here.post("x" * 8000, origin=PAGE),
            await here.post(expired),
            await here.post(position, origin=PAGE),
            await here.post([here.token, here.token], origin=PAGE),
            # The secret itself, from elsewhere.
            await here.post(here.token, origin="https://evil.example"),
            await here.post(here.token, origin="null"),
            await here.post(here.token, origin=here.url),
            await here.post(here.token),
            await here.post(here.token, path="/other", origin=PAGE),
        ]
        seen = {
            (answer.status_code, answer.content, tuple(pair for pair in answer.headers.items() if pair[0] != "date"))
            for answer in answers
        }
        assert len(seen) == 1
        assert answers[0].status_code == 404
        assert len(here.hooks.of("open")) == 2
        assert (await here.post(here.token, origin=PAGE)).status_code == 204
        assert await here.client.receive() == "hello"


async def test_a_secret_is_bound_to_the_first_page_that_posts() -> None:
    """A GET of the same origin says nothing of it, and a proxy may change the Host: a page is known by its POST."""
    other = "https://also-good.example"
    hub = Hub(Echo(), origins=[PAGE, other])
    async with Server(hub, port=0) as server, events.connect(server.url) as client:

        async def post(origin: str | None) -> int:
            headers = {"x-crossws-id": client._token} | ({} if origin is None else {"origin": origin})
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.post(server.url, headers=headers, content="x")).status_code

        answers = [await post(origin) for origin in ("https://evil.example", None, PAGE, other, PAGE, None, server.url)]
        assert answers == [404, 204, 204, 404, 204, 204, 204]


async def test_a_page_that_needs_no_permission_to_post_reaches_no_peer() -> None:
    """A form, or a fetch without headers of its own: the secret is nowhere but in a header."""
    async with scene() as here:
        for path in ("/room", f"/room?x-crossws-id={here.token}"):
            answer = await here.post(None, path=path, origin="https://evil.example")
            assert answer.status_code == 426
        await here.client.send("mine")
        assert await here.client.receive() == "mine"


async def test_a_foreign_page_gets_no_stream_and_no_permission() -> None:
    async with scene() as here, httpx.AsyncClient(trust_env=False) as http:
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            with pytest.raises(HandshakeRefused) as refused:
                await events.connect(here.url + "/room", headers=headers)
            assert refused.value.status == 403
            assert "access-control-allow-origin" not in refused.value.headers
        asking = {"origin": "https://evil.example", "access-control-request-headers": "x-crossws-id"}
        answer = await http.options(here.url + "/room", headers=asking)
        assert "access-control-allow-origin" not in answer.headers
        assert len(here.hooks.peers) == 1


async def test_another_host_is_not_served_here() -> None:
    """A name that was made to point to this machine."""
    async with scene() as here:
        with pytest.raises(HandshakeRefused) as refused:
            await events.connect(here.url + "/room", headers={"host": "evil.example"})
        assert refused.value.status == 421


async def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []

    def compare(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    async with scene() as here:
        monkeypatch.setattr(peers.hmac, "compare_digest", compare)
        await here.post(here.token, origin=PAGE)
        assert (here.token.encode(), here.token.encode()) in compared


# P9: whoever says something absurd starts afresh, and is told so.


@pytest.mark.parametrize(
    "change",
    [
        "99999999999999999999",
        "-1",
        "",
        "closed?",
        "{key}",
        "{key}.",
        "{key}.-1",
        "{key}.99",
        "{key}.01",
        "{key}.99999999999999999999",
        "{key}.1e1",
        "{key}.٣",
        "{KEY}.1",
        "{token}.0",
        "AAAAAAAAAAAAAAAAAAAAAA.0",
        "x" * 8_000,
    ],
)
async def test_an_absurd_position_is_a_fresh_start(change: str) -> None:
    async with scene() as here, httpx.AsyncClient(trust_env=False) as http:
        await here.client.send("x")
        await here.client.receive()
        key = here.client.last_event_id.partition(".")[0]
        value = change.format(key=key, KEY=key.swapcase(), token=here.token)
        headers = ACCEPT | {"origin": PAGE, "last-event-id": value.encode()}
        async with http.stream("GET", here.url + "/room", headers=headers) as answer:
            assert answer.status_code == 200
            reader = EventReader(10_000)
            found: dict[str | None, str] = {}
            async for data in answer.aiter_bytes():
                found |= {event.event: event.data for event in reader.feed(data)}
                if "start" in found:
                    break
        assert json.loads(found["start"])["resumed"] is False
        assert found["crossws-id"] != here.token
        assert len(here.hooks.peers) == 2
        # The peer whose place was asked for is where it was.
        await here.client.send("still here")
        assert await here.client.receive() == "still here"


@pytest.mark.parametrize(("path", "origin"), [("/other", PAGE), ("/room", None)])
async def test_a_position_is_good_for_its_own_page_and_path(path: str, origin: str | None) -> None:
    async with scene() as here:
        headers = {"last-event-id": here.client.last_event_id}
        async with events.connect(here.url + path, headers=headers, origin=origin) as other:
            assert other._facts["resumed"] is False
            assert other._token != here.token
        with pytest.raises(HandshakeRefused) as refused:
            await events.connect(here.url + "/room", headers=headers, origin="https://evil.example")
        assert refused.value.status == 403
        await here.client.send("still here")
        assert await here.client.receive() == "still here"


# P10: a reader that stops costs its queue, and no more.


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_a_reader_that_stops_is_closed_at_the_limit(engine: str) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    chat = Chat()
    limits = Limits(max_queue_size=64 * 1024, close_timeout=0.5)
    hub = Hub(chat, limits=limits)
    async with Server(hub, port=0, engine=engine) as server, events.connect(server.url + "/witness") as witness:
        assert await witness.receive() == "ready"
        client = await events.connect(server.url + "/stuck")
        await chat.wait_for("open", 2)
        stuck = chat.peers[1]
        most = 0
        while "/stuck" in hub.peers:
            hub.publish("chat", "x" * 8_000, namespace="/stuck")
            most = max(most, stuck.buffered_amount)
            hub.publish("chat", "tick", namespace="/witness")
            assert await witness.receive() == "tick"
        assert most <= limits.max_queue_size
        assert (await chat.wait_for("close")).code == 1013
        client.terminate()


# Whatever is posted.


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"content-type": "text/plain"}, b"\xff", 400, 1007),
        ({"content-type": "text/plain"}, b"x" * 1001, 413, 1009),
        ({"content-type": "application/x-crosspeer-messages"}, b"t1001:", 413, 1009),
        ({"content-type": "application/x-crosspeer-messages"}, b"t2:\xff\xff", 400, 1007),
        ({"content-type": "application/x-crosspeer-messages"}, b"nonsense", 400, 1002),
        ({"content-type": "application/x-crosspeer-messages"}, b"c2:\x03\xee", 400, 1002),
    ],
)
async def test_a_post_that_breaks_the_protocol_closes_its_peer(
    headers: dict[str, str], body: bytes, status: int, code: int
) -> None:
    async with scene(limits=Limits(max_message_size=1000, close_timeout=0.5)) as here:
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(
                here.url + "/room", headers=headers | {"x-crossws-id": here.token, "origin": PAGE}, content=body
            )
        assert answer.status_code == status
        assert await here.client.wait_closed() == code
        assert (await here.hooks.wait_for("close")).code == code
