"""Peers that come by `EventSource` on the default server: who becomes one, how they come back, how they end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount

from crosspeer import SSE, CloseDetails, EventStream, Hub, Limits, Routes, Server, define_hooks
from crosspeer.adapters import asgi, sse
from crosspeer.server.http import HTTPProtocol
from crosspeer.testing import ConnectionClosed, HandshakeRefused, events, sockets
from crosspeer.testing.contracts.adapter import Chat, Echo
from crosspeer.testing.contracts.harness import Recorder
from crosspeer.wire.posted import MEDIA_TYPE, encode_posted
from raw import Raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from crosspeer import Peer, Request

ACCEPT = {"accept": "text/event-stream"}
ENGINES = ["native", "python", "uvicorn"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    return str(request.param)


@asynccontextmanager
async def served(target: Any, engine: str = "python", **options: Any) -> AsyncIterator[str]:
    async with Server(target, port=0, engine=engine, shutdown_timeout=5, **options) as server:
        yield server.url


async def page(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse(f"the page at {scope['path']}")(scope, receive, send)


# Who becomes a peer.


async def test_both_kinds_of_peers_meet_in_the_same_topics(engine: str) -> None:
    chat = Chat()
    async with (
        served(Hub(chat), engine) as url,
        events.connect(url + "/room") as one,
        sockets.connect(url.replace("http", "ws") + "/room") as other,
    ):
        for client in (one, other):
            assert await client.receive() == "ready"
        await one.send("by POST")
        assert await other.receive() == "by POST"
        await other.send(b"by frame\r\n")
        assert await one.receive() == b"by frame\r\n"
        await other.send("lines\r\nof\rtext\n")
        assert await one.receive() == "lines\r\nof\rtext\n"
        assert len(chat.peers[0].peers) == 2


async def test_requests_that_are_not_for_peers_go_to_the_application() -> None:
    asked: list[str] = []

    async def resolve(request: Request) -> Any:
        asked.append(request.url.path)
        return Echo() if request.url.path == "/peers" else None

    async with served(Hub(resolve=resolve), http=page) as url, httpx.AsyncClient(trust_env=False) as client:
        for path, headers in (
            ("/peers", {}),
            ("/peers", {"accept": "text/html, */*"}),
            ("/peers", {"accept": "text/event-streams"}),
            ("/elsewhere", ACCEPT),
            ("/elsewhere", ACCEPT | {"origin": "https://evil.example"}),
            ("/elsewhere", ACCEPT | {"sec-fetch-site": "cross-site"}),
        ):
            answer = await client.get(url + path, headers=headers)
            assert (answer.status_code, answer.text) == (200, f"the page at {path}"), headers
        for headers in ({}, {"x-crossws-id": "whatever"}):
            answer = await client.post(url + "/elsewhere", headers=headers, content="x")
            assert answer.text == "the page at /elsewhere"
        assert (await client.post(url + "/peers", content="x")).text == "the page at /peers"
        assert (await client.head(url + "/peers", headers=ACCEPT)).status_code == 200
        asked.clear()
        async with events.connect(url + "/peers", headers={"accept": "text/html, text/Event-Stream ; q=0.5"}):
            assert asked == ["/peers"]


async def test_nobody_else_to_answer_is_404() -> None:
    async with served(Hub(resolve=lambda request: None)) as url, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url, headers=ACCEPT)).status_code == 404
        assert (await client.get(url)).status_code == 426


async def test_a_hub_may_do_without() -> None:
    async with served(Hub(Echo(), sse=False), http=page) as url, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url + "/x", headers=ACCEPT)).text == "the page at /x"


async def test_a_route_file_with_hooks_serves_both(tmp_path: Path) -> None:
    (tmp_path / "[room].py").write_text(
        "from crosspeer import define_hooks\n"
        "websocket = define_hooks(open=lambda peer: peer.send(peer.request.path_params))\n"
        "def get():\n    return 'the page'\n"
    )
    async with served(Routes(tmp_path)) as url, httpx.AsyncClient(trust_env=False) as client:
        async with events.connect(url + "/tea") as peer:
            assert await peer.receive_json() == {"room": "tea"}
        assert (await client.get(url + "/tea")).text == "the page"


async def test_the_adapter_for_event_streams_alone() -> None:
    async with served(sse.Adapter(Echo())) as url, httpx.AsyncClient(trust_env=False) as client:
        async with events.connect(url) as peer:
            await peer.send("hi")
            assert await peer.receive() == "hi"
        assert (await client.get(url)).status_code == 406
    async with served(sse.Adapter(Echo(), http=page)) as url, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url)).text == "the page at /"
        with pytest.raises(HandshakeRefused):
            await sockets.connect(url.replace("http", "ws"))


async def test_the_headers_of_the_answer() -> None:
    hooks = define_hooks(upgrade=lambda request: {"headers": {"content-type": "text/plain", "x-room": "7"}})
    async with served(hooks) as url, events.connect(url) as client:
        assert client.headers["content-type"] == "text/event-stream"
        assert client.headers["x-accel-buffering"] == "no"
        assert "no-store" in client.headers["cache-control"]
        assert "no-transform" in client.headers["cache-control"]
        assert client.headers["x-room"] == "7"
        assert "x-crossws-id" not in client.headers
        assert "access-control-allow-origin" not in client.headers


# What is posted.


async def test_a_plain_post_is_one_message() -> None:
    recorder = Recorder()
    recorder.message = lambda peer, message: recorder.note("message", message.data)  # type: ignore[method-assign]
    async with served(Hub(recorder)) as url, events.connect(url) as client, httpx.AsyncClient(trust_env=False) as http:
        for kind, body in (
            ("text/plain;charset=UTF-8", "a\nb"),
            ("application/json", '{"a": 1}'),
            ("application/octet-stream", b"\xff"),
            ("text/plain", ""),
        ):
            headers = {"x-crossws-id": client._token, "content-type": kind}
            assert (await http.post(url, headers=headers, content=body)).status_code == 204
            assert await recorder.wait_for("message", len(recorder.of("message"))) == body


async def test_a_post_of_many_messages_may_go_on() -> None:
    """Pieces that are cut anywhere, in a body without an end."""
    recorder = Echo()
    async with served(Hub(recorder)) as url, events.connect(url) as client, Raw(url) as raw:
        head = f"POST / HTTP/1.1\r\nHost: {url[7:]}\r\nTransfer-Encoding: chunked\r\nContent-Type: {MEDIA_TYPE}\r\n"
        raw.send((head + f"x-crossws-id: {client._token}\r\n\r\n").encode())
        first = encode_posted("ä" * 100_000) + encode_posted(b"\x00") + encode_posted("last")
        for start in range(0, len(first) - 2, 50_001):
            piece = first[start : min(start + 50_001, len(first) - 2)]
            raw.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert await client.receive() == "ä" * 100_000
        assert await client.receive() == b"\x00"
        await client.send("beside it")
        assert await client.receive() == "beside it"
        raw.send(b"2\r\nst\r\n0\r\n\r\n")
        assert (await raw.head())[0] == 204
        assert await client.receive() == "last"


async def test_a_post_that_is_sent_again_is_not_heard_again() -> None:
    recorder = Recorder()
    recorder.message = lambda peer, message: recorder.note("message", message.data)  # type: ignore[method-assign]
    async with served(Hub(recorder)) as url, events.connect(url) as client, httpx.AsyncClient(trust_env=False) as http:

        async def post(number: str, *messages: str) -> int:
            headers = {"x-crossws-id": client._token, "content-type": MEDIA_TYPE, "x-crosspeer-number": number}
            body = b"".join(map(encode_posted, messages))
            return (await http.post(url, headers=headers, content=body)).status_code

        assert await post("1", "a", "b") == 204
        assert await post("1", "a", "b", "c") == 204
        assert await post("2", "b") == 204
        assert await post("5", "e") == 409
        assert await post("4", "d") == 204
        for wrong in ("0", "-1", "x", "1" * 30):
            assert await post(wrong, "x") == 400
        assert recorder.of("message") == ["a", "b", "c", "d"]


async def test_a_post_that_is_cut_short_brings_what_is_whole() -> None:
    recorder = Recorder()
    recorder.message = lambda peer, message: recorder.note("message", message.data)  # type: ignore[method-assign]
    async with served(Hub(recorder)) as url, events.connect(url) as client:
        head = f"POST / HTTP/1.1\r\nHost: {url[7:]}\r\nContent-Length: 1000\r\nContent-Type: {MEDIA_TYPE}\r\n"
        async with Raw(url) as raw:
            raw.send((head + f"x-crossws-id: {client._token}\r\nx-crosspeer-number: 1\r\n\r\n").encode())
            raw.send(encode_posted("whole") + b"t100:half")
            assert await recorder.wait_for("message") == "whole"
        # The way is free again, and the number is known.
        client._number = 2
        await client.send("next")
        assert await recorder.wait_for("message", 2) == "next"


# Coming back.


async def test_a_client_that_comes_back_misses_nothing(engine: str) -> None:
    recorder = Echo()
    hub = Hub(recorder)
    async with served(hub, engine) as url, events.connect(url) as client:
        await recorder.wait_for("open")
        peer = recorder.peers[0]
        for number in range(3):
            peer.send(str(number))
        assert [await client.receive() for _ in range(2)] == ["0", "1"]
        client.cut()
        for number in range(3, 6):
            peer.send(str(number))
        assert await client.resume() is True
        peer.send("6")
        assert [await client.receive() for _ in range(5)] == ["2", "3", "4", "5", "6"]
        await client.send("still the same")
        assert await client.receive() == "still the same"
        assert recorder.peers == [peer]
        assert recorder.of("close") == []
        assert peer.peers == {peer}


async def test_a_client_may_come_back_before_it_was_missed() -> None:
    """The connection before looks alive still: it is taken over, with what was stuck in it."""
    recorder = Chat()
    hub = Hub(
        recorder,
        limits=Limits(max_queue_size=64 * 1024 * 1024),
        sse=SSE(window_size=64 * 1024 * 1024, window_messages=10**6),
    )
    async with served(hub) as url, events.connect(url) as client:
        assert await client.receive() == "ready"
        peer = recorder.peers[0]
        sent = 0
        while peer.buffered_amount < 100_000:
            peer.send(f"{sent}:" + "x" * 16_000)
            sent += 1
            await asyncio.sleep(0)
        assert await client.resume() is True
        assert [str(await client.receive()).partition(":")[0] for _ in range(sent)] == [str(n) for n in range(sent)]
        await client.send("to nobody")
        assert recorder.peers == [peer]


@pytest.mark.parametrize("bounds", [SSE(window_messages=2), SSE(window_size=10)])
async def test_a_client_that_missed_too_much_starts_afresh(bounds: SSE) -> None:
    recorder = Recorder()
    hub = Hub(recorder, sse=bounds)
    async with served(hub) as url, events.connect(url) as client:
        await recorder.wait_for("open")
        for _ in range(5):
            recorder.peers[0].send("missed")
        assert await client.receive() == "missed"
        client.cut()
        await recorder.peers[0].wait_for_drain()
        assert await client.resume() is False
        await recorder.wait_for("open", 2)
        assert await recorder.wait_for("close") == CloseDetails(1006, "", was_clean=False)
        recorder.peers[1].send("new")
        assert await client.receive() == "new"
        assert recorder.peers[0] is not recorder.peers[1]


async def test_a_client_that_stays_away_is_gone() -> None:
    recorder = Recorder()
    hub = Hub(recorder, sse=SSE(resume=0.2))
    async with served(hub) as url, events.connect(url) as client:
        await recorder.wait_for("open")
        client.cut()
        assert await recorder.wait_for("close") == CloseDetails(1006, "", was_clean=False)
        assert not hub.peers
        with pytest.raises(ConnectionClosed):
            await client.send("too late")


async def test_without_a_window_whoever_comes_back_is_new() -> None:
    recorder = Echo()
    async with served(Hub(recorder, sse=SSE(resume=0))) as url, events.connect(url) as client:
        await client.send("a")
        assert await client.receive() == "a"
        assert client.last_event_id == ""
        client.cut()
        await recorder.wait_for("close")
        assert await client.resume() is False


# Its end.


@pytest.mark.parametrize(("code", "comes_back"), [(1000, False), (4500, False), (1012, True), (4000, True)])
async def test_a_browser_comes_back_only_where_it_is_to(code: int, comes_back: bool) -> None:
    recorder = Recorder()
    async with served(Hub(recorder)) as url, events.connect(url) as client, httpx.AsyncClient(trust_env=False) as http:
        await recorder.wait_for("open")
        recorder.peers[0].close(code, "so")
        assert await client.wait_closed() == code
        assert client.close_reason == "so"
        assert await recorder.wait_for("close") == CloseDetails(code, "so")
        if comes_back:
            assert client.last_event_id == ""
        else:
            answer = await http.get(url, headers=ACCEPT | {"last-event-id": client.last_event_id})
            assert answer.status_code == 204
        assert len(recorder.peers) == 1


async def test_the_server_stops_in_time_and_says_so(engine: str) -> None:
    recorder = Recorder()
    server = Server(Hub(recorder), port=0, engine=engine, shutdown_timeout=5)
    await server.start()
    client = await events.connect(server.url)
    lost = await events.connect(server.url)
    await recorder.wait_for("open", 2)
    lost.cut()
    recorder.peers[1].send("nobody reads this")
    async with asyncio.timeout(5):
        await server.stop()
    assert await client.wait_closed() == 1012
    assert [details.code for details in recorder.of("close")] == [1012, 1012]


async def test_an_open_event_stream_does_not_hold_the_server_up(engine: str) -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        stream = EventStream()
        stream.on_closed(ended.set)
        await stream(scope, receive, send)

    async with Server(Hub(resolve=lambda request: None), http=app, port=0, engine=engine, shutdown_timeout=8) as server:
        http = httpx.AsyncClient(trust_env=False)
        async with http, http.stream("GET", server.url):
            async with asyncio.timeout(4):
                await server.stop()
            assert ended.is_set()


async def test_a_reader_that_stops_is_closed_and_its_connection_dropped(engine: str) -> None:
    recorder = Chat()
    hub = Hub(recorder, limits=Limits(max_queue_size=64 * 1024, close_timeout=0.5))
    async with served(hub, engine) as url:
        client = await events.connect(url)
        await recorder.wait_for("open")
        while hub.peers:
            hub.publish("chat", "x" * 16_000)
            await asyncio.sleep(0)
        assert (await recorder.wait_for("close")).code == 1013
        # Not with all that was stuck in front of it.
        assert await client.wait_closed() in (1006, 1013)


async def test_silence_is_broken() -> None:
    """By comments, which keep the stream alive on its way."""
    hub = Hub(Echo(), sse=SSE(keep_alive=0.2))
    async with served(hub) as url, Raw(url) as raw:
        raw.send(f"GET / HTTP/1.1\r\nHost: {url[7:]}\r\nAccept: text/event-stream\r\n\r\n".encode())
        await raw.head()
        async with asyncio.timeout(10):
            for _ in range(3):
                await raw.reader.readuntil(b"\r\n:\n\n\r\n")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux drops who acknowledges nothing")
async def test_the_system_drops_who_acknowledges_nothing(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    known: list[int] = []
    original = HTTPProtocol.drop_when_silent

    def look(protocol: HTTPProtocol, seconds: float) -> None:
        original(protocol, seconds)
        connection = protocol.transport.get_extra_info("socket")
        known.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    monkeypatch.setattr(HTTPProtocol, "drop_when_silent", look)
    async with served(Hub(Echo(), sse=SSE(keep_alive=2)), engine) as url, events.connect(url) as client:
        assert known == [6000]
        assert await client.resume() is True
        assert known == [6000, 6000]


# Pages of other origins.


async def test_a_listed_page_of_another_origin_may_read_and_send() -> None:
    page = "https://good.example"
    hub = Hub(Echo(), origins=[page])
    async with served(hub) as url, httpx.AsyncClient(trust_env=False) as http:
        asking = {"origin": page, "access-control-request-method": "POST"}
        asked = {"access-control-request-headers": "content-type, x-crossws-id,x-crosspeer-number"}
        permission = await http.options(url, headers=asking | asked)
        assert permission.status_code == 204
        assert permission.headers["access-control-allow-origin"] == page
        assert "x-crossws-id" in permission.headers["access-control-allow-headers"]
        async with events.connect(url, origin=page) as client:
            assert client.headers["access-control-allow-origin"] == page
            assert client.headers["vary"] == "origin"
            assert "access-control-allow-credentials" not in client.headers
            await client.send("hi")
            assert await client.receive() == "hi"


async def test_other_questions_go_to_the_application() -> None:
    asking = {"origin": "https://other.example", "access-control-request-method": "POST"}
    async with served(Hub(Echo()), http=page) as url, httpx.AsyncClient(trust_env=False) as http:
        for headers in ("x-crossws-id", "authorization"):
            answer = await http.options(url, headers=asking | {"access-control-request-headers": headers})
            assert answer.text == "the page at /"
            assert "access-control-allow-origin" not in answer.headers


async def test_a_page_that_may_connect_reads_why_it_may_not_now() -> None:
    page = "https://good.example"
    hooks = define_hooks(upgrade=lambda request: Response("who are you?", 401))
    async with served(Hub(hooks, origins=page)) as url, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(url, headers=ACCEPT | {"origin": page})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, page)
        answer = await http.get(url, headers=ACCEPT | {"origin": "https://evil.example"})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


# As crossws speaks.


async def test_crossws_to_the_letter() -> None:
    seen: list[Any] = []

    def message(peer: Peer, message: Any) -> None:
        seen.append(message.data)
        peer.send(b"\x01\x02")

    hub = Hub(define_hooks(message=message), sse=SSE(crossws=True))
    async with served(hub) as url, events.connect(url) as client, Raw(url) as raw:
        assert client.headers["x-crossws-id"] == client._token
        head = f"POST / HTTP/1.1\r\nHost: {url[7:]}\r\nTransfer-Encoding: chunked\r\n"
        raw.send((head + f"Content-Type: application/octet-stream\r\nx-crossws-id: {client._token}\r\n\r\n").encode())
        for text in ("one", "zwö"):
            piece = text.encode()
            raw.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert await client.receive() == "data:application/octet-stream;base64,AQI="
        assert seen == ["one", "zwö"]


async def test_a_post_without_borders_is_not_guessed_at() -> None:
    async with served(Hub(Echo())) as url, events.connect(url) as client, Raw(url) as raw:
        head = f"POST / HTTP/1.1\r\nHost: {url[7:]}\r\nTransfer-Encoding: chunked\r\n"
        raw.send((head + f"Content-Type: application/octet-stream\r\nx-crossws-id: {client._token}\r\n\r\n").encode())
        assert (await raw.head())[0] == 411


# The module for browsers.


@pytest.mark.parametrize("http", [None, page])
async def test_the_module_is_served(http: Any) -> None:
    async with served(Hub(Echo()), http=http) as url, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(url + "/_crosspeer/client.js")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "export class PeerSocket" in answer.text
        assert answer.text.count("\n") <= 300
        again = await client.get(url + "/_crosspeer/client.js", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await client.head(url + "/_crosspeer/client.js")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(answer.content)))
        elsewhere = await client.get(url + "/x/_crosspeer/client.js")
        assert elsewhere.status_code == (426 if http is None else 200)
        assert "PeerSocket" not in elsewhere.text


async def test_below_a_mount_and_behind_middleware() -> None:
    """Middleware of Starlette's own kind runs what is behind it in another task."""

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    recorder = Echo()
    routes = [Mount("/below", asgi.Adapter(Hub(recorder, sse=SSE(resume=5))))]
    app = Starlette(routes=routes, middleware=[Middleware(Passing), Middleware(GZipMiddleware, minimum_size=1)])
    async with served(app) as url, httpx.AsyncClient(trust_env=False) as http:
        assert "PeerSocket" in (await http.get(url + "/below/_crosspeer/client.js")).text
        async with events.connect(url + "/below/room", headers={"accept-encoding": "gzip"}) as client:
            await client.send("hi")
            assert await client.receive() == "hi"
            client.cut()
            recorder.peers[0].send("meanwhile")
            assert await client.resume() is True
            assert await client.receive() == "meanwhile"
            recorder.peers[0].close(4000, "done")
            assert await client.wait_closed() == 4000
        async with events.connect(url + "/below/room") as client:
            await recorder.wait_for("open", 2)
            recorder.peers[1].terminate()
            assert await client.wait_closed() == 1006
