"""HTTP on file routes and public files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from crosspeer import Hub
from crosspeer.adapters import asgi
from crosspeer.server.routes import Routes

CHAT = "from crosspeer import Hooks\nclass websocket(Hooks): pass\n"


def site(folder: Path, files: dict[str, str], **options: Any) -> Routes:
    for name, text in {"routes/.keep": "", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Routes(folder / "routes", **options)


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


async def ask(routes: Routes, path: str, method: str = "GET", **options: Any) -> httpx.Response:
    async with client(routes) as http:
        return await http.request(method, path, **options)


@pytest.mark.parametrize(
    ("body", "status", "kind", "content"),
    [
        ("return 'tea ☕'", 200, "text/plain; charset=utf-8", "tea ☕".encode()),
        ("return b'\\x00\\xff'", 200, "application/octet-stream", b"\x00\xff"),
        ("return bytearray(b'ab')", 200, "application/octet-stream", b"ab"),
        ("return memoryview(b'ab')", 200, "application/octet-stream", b"ab"),
        ("return {'a': [1, 'é']}", 200, "application/json", '{"a":[1,"é"]}'.encode()),
        ("return []", 200, "application/json", b"[]"),
        ("return False", 200, "application/json", b"false"),
        ("return 0", 200, "application/json", b"0"),
        ("return", 204, None, b""),
        ("return Response('no', 418, media_type='text/tea')", 418, "text/tea; charset=utf-8", b"no"),
        ("raise HTTPException(403, 'not you')", 403, "text/plain; charset=utf-8", b"not you"),
        ("raise HTTPException(304)", 304, None, b""),
        ("raise KeyError('secret')", 500, "text/plain; charset=utf-8", b"Internal Server Error"),
        ("return object()", 500, "text/plain; charset=utf-8", b"Internal Server Error"),
        ("return float('nan')", 500, "text/plain; charset=utf-8", b"Internal Server Error"),
    ],
)
@pytest.mark.parametrize("definition", ["def get(request)", "async def get(request)", "async def get()"])
async def test_what_a_function_returns(
    tmp_path: Path, definition: str, body: str, status: int, kind: str | None, content: bytes
) -> None:
    imports = "from starlette.exceptions import HTTPException\nfrom starlette.responses import Response\n"
    response = await ask(site(tmp_path, {"routes/a.py": f"{imports}{definition}: {body}"}), "/a")
    assert (response.status_code, response.headers.get("content-type")) == (status, kind)
    assert response.content == content


async def test_the_headers_of_an_http_exception_are_sent(tmp_path: Path) -> None:
    text = "from starlette.exceptions import HTTPException\ndef get(): raise HTTPException(401, headers={'x-a': 'b'})"
    response = await ask(site(tmp_path, {"routes/a.py": text}), "/a")
    assert (response.status_code, response.headers["x-a"], response.text) == (401, "b", "Unauthorized")


async def test_an_exception_is_logged_with_its_traceback_and_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    response = await ask(site(tmp_path, {"routes/a.py": "def get(): raise KeyError('secret')"}), "/a")
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.name == "crosspeer"]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "GET '/a' failed")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


async def test_a_client_that_leaves_in_its_body_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    routes = site(tmp_path, {"routes/a.py": "async def post(request): return await request.body()"})

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None: ...

    scope = {"type": "http", "method": "POST", "path": "/a", "raw_path": b"/a", "headers": []}
    await routes(scope, receive, send)
    assert [record for record in caplog.records if record.name == "crosspeer"] == []


async def test_a_function_sees_the_request(tmp_path: Path) -> None:
    text = """
async def post(request):
    body = await request.json()
    return [body, request.path_params, request.query_params["q"], request.method]
"""
    routes = site(tmp_path, {"routes/[a]/[...rest].py": text})
    response = await ask(routes, "/x%2Fy/1/2?q=7", "POST", json={"k": 1})
    assert response.json() == [{"k": 1}, {"a": "x/y", "rest": "1/2"}, "7", "POST"]


async def test_a_function_may_publish_to_the_hub(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/a.py": "def get(request): return request.hub.connections"})
    async with client(asgi.Adapter(Hub(resolve=routes.resolve), http=routes)) as http:
        assert (await http.get("/a")).json() == 0


METHODS = """
def get(): return 'get'
def delete(): return 'delete'
"""
HANDLER = "def handler(request): return f'handler {request.method}'\n"


@pytest.mark.parametrize(
    ("files", "method", "status", "told"),
    [
        ({"a.py": METHODS}, "GET", 200, "get"),
        ({"a.py": METHODS}, "DELETE", 200, "delete"),
        ({"a.py": METHODS}, "POST", 405, "DELETE, GET, HEAD, OPTIONS"),
        ({"a.py": METHODS}, "PROPFIND", 405, "DELETE, GET, HEAD, OPTIONS"),
        ({"a.py": METHODS}, "OPTIONS", 204, "DELETE, GET, HEAD, OPTIONS"),
        ({"a.py": METHODS + HANDLER}, "GET", 200, "get"),
        ({"a.py": METHODS + HANDLER}, "POST", 200, "handler POST"),
        ({"a.py": METHODS + HANDLER}, "OPTIONS", 200, "handler OPTIONS"),
        ({"a.py": METHODS + HANDLER}, "PROPFIND", 200, "handler PROPFIND"),
        ({"a.py": "def options(): return 'own'"}, "OPTIONS", 200, "own"),
        ({"a.py": "def post(): ..."}, "GET", 405, "OPTIONS, POST"),
        ({"a.py": "def post(): ..."}, "HEAD", 405, "OPTIONS, POST"),
        # A file for one method serves that one only.
        ({"a.get.py": METHODS}, "GET", 200, "get"),
        ({"a.get.py": METHODS}, "DELETE", 405, "GET, HEAD, OPTIONS"),
        ({"a.get.py": METHODS}, "OPTIONS", 204, "GET, HEAD, OPTIONS"),
        ({"a.post.py": HANDLER}, "POST", 200, "handler POST"),
        ({"a.post.py": HANDLER}, "GET", 405, "OPTIONS, POST"),
        ({"a.post.py": HANDLER, "a.py": METHODS}, "POST", 200, "handler POST"),
        ({"a.post.py": HANDLER, "a.py": METHODS}, "GET", 200, "get"),
        ({"a.post.py": HANDLER, "a.py": METHODS}, "PUT", 405, "DELETE, GET, HEAD, OPTIONS, POST"),
        ({"a.get.py": METHODS + HANDLER}, "GET", 200, "get"),
        ({"a.get.py": METHODS, "a.py": "def get(): return 'all'"}, "GET", 200, "get"),
        # So another file may serve the rest.
        ({"a.get.py": METHODS, "[x].py": HANDLER}, "POST", 200, "handler POST"),
        ({"a.get.py": METHODS, "[x].put.py": HANDLER}, "POST", 405, "GET, HEAD, OPTIONS, PUT"),
        # A file for all methods has the last word, by what it exports.
        ({"a.py": METHODS, "[x].py": HANDLER}, "POST", 405, "DELETE, GET, HEAD, OPTIONS"),
        # Routes for peers.
        ({"a.py": CHAT}, "GET", 426, None),
        ({"a.py": CHAT}, "POST", 426, None),
        ({"a.get.py": CHAT}, "POST", 426, None),
        ({"a.py": CHAT}, "OPTIONS", 204, "GET, OPTIONS"),
        ({"a.py": CHAT, "[x].py": HANDLER}, "GET", 426, None),
        ({"a.py": CHAT, "a.get.py": METHODS}, "GET", 200, "get"),
        ({"a.py": CHAT, "a.get.py": METHODS}, "POST", 405, "GET, HEAD, OPTIONS"),
        ({"a.py": CHAT + METHODS}, "GET", 200, "get"),
        # Broken ones.
        ({"a.py": "1 / 0"}, "GET", 500, None),
        ({"a.py": "1 / 0"}, "POST", 500, None),
        ({"a.py": "1 / 0", "[x].py": HANDLER}, "GET", 500, None),
        ({"a.get.py": "1 / 0", "a.py": HANDLER}, "GET", 500, None),
        ({"a.get.py": "1 / 0", "a.py": HANDLER}, "POST", 200, "handler POST"),
        ({"b.py": HANDLER}, "GET", 404, None),
        ({"b.py": HANDLER}, "OPTIONS", 404, None),
    ],
)
async def test_a_method_is_answered(
    tmp_path: Path, files: dict[str, str], method: str, status: int, told: str | None
) -> None:
    routes = site(tmp_path, {f"routes/{name}": text for name, text in files.items()})
    response = await ask(routes, "/a", method)
    assert response.status_code == status
    if status == 200:
        assert response.text == told
    else:
        assert response.headers.get("allow") == told


async def test_head_is_answered_by_get(tmp_path: Path) -> None:
    response = await ask(site(tmp_path, {"routes/a.py": METHODS}), "/a", "HEAD")
    assert (response.status_code, response.headers["content-length"]) == (200, "3")


async def test_a_route_for_peers_says_what_it_wants(tmp_path: Path) -> None:
    response = await ask(site(tmp_path, {"routes/a.py": CHAT}), "/a")
    assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")
    assert response.text == "WebSocket upgrade is required."


PUBLIC = {
    "public/index.html": "public index",
    "public/style.css": "public css",
    "public/docs/index.html": "public docs",
    "public/empty/x.txt": "public x",
    "public/a b.txt": "public a b",
}
ALL = "def handler(request): return 'route'\n"


@pytest.mark.parametrize(
    ("files", "path", "told"),
    [
        ({}, "/", "public index"),
        ({}, "/style.css", "public css"),
        ({}, "/a%20b.txt", "public a b"),
        ({}, "/docs/", "public docs"),
        ({}, "/docs/index.html", "public docs"),
        ({}, "/empty/", "Not Found"),
        ({}, "/style.css/x", "Not Found"),
        ({}, "/docs%2Findex.html", "Not Found"),
        ({}, "/" + "x" * 5000, "Not Found"),
        # A static route is before the files, every other one after them.
        ({"routes/style.css.py": ALL}, "/style.css", "route"),
        ({"routes/index.py": ALL}, "/", "route"),
        ({"routes/[x].py": ALL}, "/style.css", "public css"),
        ({"routes/[x].py": ALL}, "/other", "route"),
        ({"routes/[x].py": ALL}, "/empty", "route"),
        ({"routes/[...].py": ALL}, "/", "public index"),
        ({"routes/[...].py": ALL}, "/docs%2Findex.html", "route"),
        ({"routes/[x].css.py": ALL}, "/style.css", "public css"),
        # A page stands beside a static route that does not serve GET itself.
        ({"routes/index.py": CHAT}, "/", "public index"),
        ({"routes/index.post.py": ALL}, "/", "public index"),
        ({"routes/style.css.py": "1 / 0"}, "/style.css", "Internal Server Error"),
        # The page for what is not found waits until nothing else matches.
        ({"public/404.html": "lost"}, "/nowhere", "lost"),
        ({"public/404.html": "lost"}, "/empty/", "lost"),
        ({"public/404.html": "lost"}, "/%2e%2e/", "lost"),
        ({"public/404.html": "lost", "routes/[x].py": ALL}, "/nowhere", "route"),
        ({"public/404.html": "lost", "routes/a.py": CHAT}, "/a", "WebSocket upgrade is required."),
    ],
)
async def test_public_files_and_routes(tmp_path: Path, files: dict[str, str], path: str, told: str) -> None:
    routes = site(tmp_path, PUBLIC | files)
    got, head = await ask(routes, path), await ask(routes, path, "HEAD")
    assert got.text == told
    assert got.status_code == head.status_code
    assert (got.status_code == 404) is (told in ("Not Found", "lost"))


async def test_a_public_folder_is_redirected_to(tmp_path: Path) -> None:
    response = await ask(site(tmp_path, PUBLIC), "/docs?q=1")
    assert (response.status_code, response.headers["location"]) == (307, "http://testserver/docs/?q=1")


async def test_a_public_file_is_for_reading_only(tmp_path: Path) -> None:
    routes = site(tmp_path, PUBLIC | {"public/404.html": "lost"})
    response = await ask(routes, "/style.css", "POST")
    assert (response.status_code, response.text) == (404, "Not Found")


async def test_a_public_file_knows_conditions(tmp_path: Path) -> None:
    routes = site(tmp_path, PUBLIC)
    tag = (await ask(routes, "/style.css")).headers["etag"]
    assert (await ask(routes, "/style.css", headers={"if-none-match": tag})).status_code == 304


async def test_public_files_can_be_elsewhere_or_off(tmp_path: Path) -> None:
    files = PUBLIC | {"other/style.css": "other css"}
    assert (await ask(site(tmp_path, files, public=False), "/style.css")).status_code == 404
    assert (await ask(site(tmp_path, files, public=tmp_path / "other"), "/style.css")).text == "other css"
    assert (await ask(site(tmp_path, files), "/style.css")).text == "public css"


async def test_it_can_be_mounted(tmp_path: Path) -> None:
    routes = site(tmp_path, PUBLIC | {"routes/[x].py": "def get(request): return request.path_params['x']"})
    async with client(Starlette(routes=[Mount("/app", routes)])) as http:
        assert (await http.get("/app/a%2Fb")).text == "a/b"
        assert (await http.get("/app/style.css")).text == "public css"
        assert (await http.get("/app/")).text == "public index"


async def test_the_parameters_of_its_mount_are_kept(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/[x].py": "def get(request): return request.path_params"})
    async with client(Starlette(routes=[Mount("/{tenant}", routes)])) as http:
        assert (await http.get("/them/a")).json() == {"tenant": "them", "x": "a"}


async def test_the_scope_of_the_caller_stays_as_it_was(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/[x].py": "def get(): return ''"})
    scope = {"type": "http", "method": "GET", "path": "/a", "raw_path": b"/a", "headers": []}
    before = dict(scope)

    async def receive() -> Any: ...

    async def send(_: Any) -> None: ...

    await routes(scope, receive, send)
    assert scope == before


async def test_lifespan_is_completed(tmp_path: Path) -> None:
    incoming = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": next(incoming)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await site(tmp_path, {})({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/.well-known/security.txt", 200),
        ("/.well-known/.git", 404),
        ("/.well-known/%2e%2e/.env", 404),
        ("/a/.well-known/x", 404),
        ("/.env", 404),
    ],
)
async def test_the_well_known_folder_is_served_and_no_other_with_a_dot(tmp_path: Path, path: str, status: int) -> None:
    hidden = (".well-known/security.txt", ".well-known/.git", "a/.well-known/x", ".env")
    routes = site(tmp_path, {f"public/{name}": "seen" for name in hidden})
    assert (await ask(routes, path)).status_code == status


async def test_a_public_file_is_asked_for_again_after_an_edit(tmp_path: Path) -> None:
    routes = site(tmp_path, PUBLIC)
    assert (await ask(routes, "/style.css")).headers["cache-control"] == "no-cache"
