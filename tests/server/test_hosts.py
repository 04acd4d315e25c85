"""Where a server listens, and by which names its peers may come (row H3 of the hostile inputs)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from crosspeer import Hooks, Message, Peer, Server
from crosspeer.adapters import asgi
from crosspeer.server.server import is_loopback
from process import crosspeer, serving
from raw import Raw, handshake


class Echo(Hooks):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


@pytest.mark.parametrize(
    ("family", "address", "loopback"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "127.1.2.3", True),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::ffff:127.0.0.1", True),
        (socket.AF_INET6, "::", False),
    ],
)
def test_an_address_of_this_machine_alone(family: socket.AddressFamily, address: str, loopback: bool) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError as error:
            pytest.skip(f"{address} is not to be had here: {error}")
        assert is_loopback(listener) is loopback


def test_web_pages_reach_no_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert not is_loopback(listener)


async def test_an_adapter_inside_of_an_application_is_told_too() -> None:
    app = Starlette(routes=[Mount("/ws", asgi.Adapter(Echo()))])
    async with Server(app, port=0) as server:
        for host, status in (("evil.example", 421), ("localhost", 101)):
            async with Raw(server.url) as client:
                client.send(handshake("/ws/", Host=host))
                assert (await client.head())[0] == status


def test_a_wrong_name_is_found_at_once() -> None:
    with pytest.raises(ValueError, match=r"'example.com:80' is no host"):
        Server(Echo(), allowed_hosts=["example.com:80"])


APPLICATION = """
from crosspeer import Hooks

class Rooms(Hooks):
    pass
"""


async def test_the_command_line_can_list_hosts(tmp_path: Path) -> None:
    (tmp_path / "rooms.py").write_text(APPLICATION)
    options = ("--allowed-host", "chat.example", "--allowed-host", "*.chat.example")
    async with serving("rooms:Rooms", *options, cwd=tmp_path) as command:
        for host, status in (("chat.example", 101), ("a.chat.example", 101), ("127.0.0.1", 101), ("evil.example", 421)):
            async with Raw(command.url) as client:
                client.send(handshake(Host=host))
                assert (await client.head())[0] == status


async def test_the_command_line_refuses_what_is_no_host(tmp_path: Path) -> None:
    (tmp_path / "rooms.py").write_text(APPLICATION)
    async with crosspeer("serve", "rooms:Rooms", "--allowed-host", "http://chat.example", cwd=tmp_path) as command:
        assert await command.ended() == 1
    assert command.output.startswith("crosspeer: 'http://chat.example' is no host: write example.com")
