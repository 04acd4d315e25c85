"""The command line as its user meets it: real processes, real signals, wrong inputs."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from crosspeer.testing import ConnectionClosed, sockets
from process import Command, crosspeer, serving

if TYPE_CHECKING:
    from pathlib import Path

CHAT = """
import asyncio, time
from crosspeer import Hooks

VERSION = 1

class Chat(Hooks):
    def open(self, peer):
        peer.send(f"version {VERSION}")

    def message(self, peer, message):
        if message.data == "block":
            peer.send("blocking")
            asyncio.get_running_loop().call_later(0.05, time.sleep, 60)
        else:
            peer.send(message.data)

class Stuck(Chat):
    async def close(self, peer, details):
        await asyncio.Event().wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    return tmp_path


def dial(command: Command) -> sockets.connect:
    return sockets.connect(command.url.replace("http", "ws"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_peers_with_1012_and_ends_the_process(folder: Path, number: int) -> None:
    async with serving("chat:Chat", cwd=folder) as command, dial(command) as client:
        assert await client.receive() == "version 1"
        command.signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
        assert closed.value.code == 1012
        assert await command.ended() == 0
    assert "Traceback" not in command.output


async def test_a_second_signal_ends_a_stuck_shutdown_now(folder: Path) -> None:
    async with serving("chat:Stuck", cwd=folder) as command:
        client = await dial(command)
        command.signal()
        assert await client.wait_closed() == 1012
        started = time.monotonic()
        command.signal()
        assert await command.ended() == 128 + signal.SIGTERM
        assert time.monotonic() - started < 3


async def test_a_second_signal_ends_a_process_whose_loop_is_blocked(folder: Path) -> None:
    async with serving("chat:Chat", cwd=folder) as command:
        client = await dial(command)
        await client.send("block")
        await client.receive()
        assert await client.receive() == "blocking"
        await asyncio.sleep(0.3)  # until the loop of the other process sleeps; nothing tells when
        command.signal()
        command.signal()
        client.terminate()
        deadline = time.monotonic() + 5
        while command.process.returncode is None and time.monotonic() < deadline:
            command.signal()
            await asyncio.sleep(0.05)
        assert await command.ended() == 128 + signal.SIGTERM


async def test_a_shutdown_keeps_its_deadline(folder: Path) -> None:
    """10 s as the project promises, with a hook that never ends."""
    async with serving("chat:Stuck", cwd=folder) as command:
        client = await dial(command)
        started = time.monotonic()
        command.signal()
        assert await client.wait_closed() == 1012
        assert await command.ended() == 0
        assert time.monotonic() - started < 12


async def test_reload_tells_peers_to_reconnect_and_serves_the_new_code(folder: Path) -> None:
    async with serving("chat:Chat", "--reload", cwd=folder) as command:
        client = await dial(command)
        assert await client.receive() == "version 1"
        (folder / "chat.py").write_text(CHAT.replace("VERSION = 1", "VERSION = 'two'"))
        assert await client.wait_closed(timeout=20) == 1012
        async with asyncio.timeout(20):
            again = await dial(command)
            assert await again.receive() == "version two"
        (folder / "chat.py").write_text("this is no python")
        assert await again.wait_closed(timeout=20) == 1012
        await command.printed("waiting for a change")
        (folder / "chat.py").write_text(CHAT.replace("VERSION = 1", "VERSION = 3"))
        await command.printed("crosspeer is on", times=3)
        async with dial(command) as third:
            assert await third.receive() == "version 3"
        command.signal()
        assert await command.ended() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "nowhere"], "there is no folder nowhere: give a folder, or module:attribute"),
        (["serve", "chat.py"], "chat.py is a file: give its folder, or module:attribute"),
        (["serve", "missing:Chat"], "there is no module missing here"),
        (["serve", "chat:Missing"], "chat has no Missing"),
        (["serve", "chat:VERSION"], "1 cannot be served"),
        (["serve", "broken:app"], "broken cannot be imported: SyntaxError"),
        (["serve", "needy:app"], "needy cannot be imported: No module named 'not_there'"),
        (["serve", "chat:Chat", "--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
        (["serve", "chat:Chat", "--port", "99999"], "99999 is not in the range"),
        (["serve", "chat:Chat", "--log-level", "loud"], "'loud' is not one of"),
        (["serve", "chat:Chat", "--engine", "warp"], "'warp' is not one of"),
        (["serve", "chat:Chat", "--ssl-certfile", "nowhere.pem"], "'nowhere.pem' does not exist"),
        (["serve", "chat:Chat", "--ssl-certfile", "chat.py"], "chat.py and its key cannot be used"),
        (["serve", "chat:Chat", "--ssl-keyfile", "chat.py"], "--ssl-keyfile goes with --ssl-certfile"),
        (["serve"], "Missing argument 'TARGET'"),
        (["sevre"], "No such command 'sevre'"),
        (["serve", "."], "crosspeer: "),
    ],
)
async def test_wrong_input_is_answered_in_a_line_that_helps(folder: Path, arguments: list[str], says: str) -> None:
    (folder / "broken.py").write_text("def :\n")
    (folder / "needy.py").write_text("import not_there\n")
    async with crosspeer(*arguments, cwd=folder) as command:
        assert await command.ended() != 0
    assert says in " ".join(command.output.split())
    assert "Traceback" not in command.output
    assert len(command.output.strip().splitlines()) <= 5


async def test_a_taken_port_is_answered_in_a_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with crosspeer("serve", "chat:Chat", "--port", port, cwd=folder) as command:
            assert await command.ended() == 1
    assert command.output == (
        f"crosspeer: port {port} of 127.0.0.1 is taken: choose another with --port, or --port 0 for a free one\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "-h"], ["--version"]])
async def test_help(arguments: list[str]) -> None:
    async with crosspeer(*arguments) as command:
        assert await command.ended() == 0
    assert "crosspeer" in command.output
