"""Handshakes: which hooks a hub gets for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from crosspeer import Hooks, Hub
from crosspeer.core.request import Request
from crosspeer.server.routes import Routes
from crosspeer.testing import connect

CHAT = "from crosspeer import Hooks\nclass Chat(Hooks): pass\nwebsocket = Chat\n"
GET = "def get():\n    return 'it'\n"


def site(folder: Path, files: dict[str, str]) -> Routes:
    for name, text in files.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Routes(folder / "site" / "routes")


def handshake(raw_path: str, **more: Any) -> Request:
    scope = {"type": "websocket", "path": raw_path, "raw_path": raw_path.encode(), "headers": []}
    return Request({**scope, "query_string": b"", "root_path": "", **more})


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/chat", {}),
        ("/chat/", {}),
        ("/rooms/tea", {"room": "tea"}),
        ("/rooms/a%2Fb%20c", {"room": "a/b c"}),
        ("/files/x/y", {"rest": "x/y"}),
        ("/suffixed", {}),
    ],
)
def test_a_handshake_gets_the_hooks_of_its_route(tmp_path: Path, path: str, params: dict[str, str]) -> None:
    files = ("chat.py", "rooms/[room].py", "files/[...rest].py", "suffixed.get.py")
    routes = site(tmp_path, {f"routes/{file}": CHAT for file in files})
    request = handshake(path)
    hooks = routes.resolve(request)
    assert isinstance(hooks, Hooks)
    assert hooks is routes.resolve(handshake(path))
    assert request.path_params == params


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/http",
        "/chat/more",
        "/page.html",
        "/",
        "/%2e%2e/chat",
        "/chat/..",
        "//chat",
        "/chat%00",
        "/rooms/%2e%2e",
        "/rooms/..%5cx",
    ],
)
def test_what_is_not_there_has_no_hooks(tmp_path: Path, path: str) -> None:
    files = {"routes/chat.py": CHAT, "routes/http.py": GET, "routes/rooms/[room].py": CHAT}
    routes = site(tmp_path, {**files, "public/page.html": "page", "public/index.html": "index"})
    assert routes.resolve(handshake(path)) is None


def test_a_route_without_hooks_does_not_fall_through_to_a_less_specific_one(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/http.py": GET, "routes/post.post.py": "def post(): ...", "routes/[x].py": CHAT})
    assert routes.resolve(handshake("/http")) is None
    # A file for another method says nothing about a handshake, which is a GET.
    assert routes.resolve(handshake("/post")) is not None


def test_the_file_for_get_and_the_one_for_all_methods_are_one_route(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/chat.py": CHAT, "routes/chat.get.py": GET})
    assert isinstance(routes.resolve(handshake("/chat")), Hooks)


def test_a_broken_route_answers_500(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/broken.py": "1 / 0", "routes/[x].py": CHAT})
    refusal = routes.resolve(handshake("/broken"))
    assert isinstance(refusal, Response)
    assert (refusal.status_code, bytes(refusal.body)) == (500, b"Internal Server Error")


def test_a_broken_file_does_not_take_the_hooks_of_another_down(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/chat.get.py": "1 / 0", "routes/chat.py": CHAT})
    assert isinstance(routes.resolve(handshake("/chat")), Hooks)


def test_a_mounted_handshake_is_found_below_its_mount(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/chat.py": CHAT})
    assert routes.resolve(handshake("/app/chat", root_path="/app")) is not None
    assert routes.resolve(handshake("/app/chat")) is None


async def test_a_peer_knows_its_parameters(tmp_path: Path) -> None:
    text = """
from crosspeer import Hooks

class websocket(Hooks):
    def open(self, peer):
        peer.send(peer.request.path_params)
"""
    routes = site(tmp_path, {"routes/rooms/[room].py": text})
    async with connect(Hub(resolve=routes.resolve), "/rooms/tea") as client:
        assert await client.receive_json() == {"room": "tea"}


async def test_without_a_hub_a_handshake_is_refused(tmp_path: Path) -> None:
    routes = site(tmp_path, {"routes/chat.py": CHAT})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await routes(handshake("/chat").scope | {"type": "websocket"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_slash_at_the_end_leads_to_the_same_room(tmp_path: Path) -> None:
    text = """
from crosspeer import Hooks

class websocket(Hooks):
    def open(self, peer):
        peer.send([peer.namespace, len(peer.peers)])
"""
    routes = site(tmp_path, {"routes/rooms/[room].py": text})
    hub = Hub(resolve=routes.resolve, namespace=routes.namespace)
    async with connect(hub, "/rooms/tea") as first, connect(hub, "/rooms/tea/") as second:
        assert await first.receive_json() == ["/rooms/tea", 1]
        assert await second.receive_json() == ["/rooms/tea", 2]
