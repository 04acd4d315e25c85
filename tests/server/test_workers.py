"""`crosspeer serve --workers`: several processes on one port, as one hub."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from crosspeer.testing import ConnectionClosed, HandshakeRefused, events, sockets
from process import crosspeer, serving

if TYPE_CHECKING:
    from pathlib import Path

    from crosspeer.testing.client import Client
    from process import Command

CHAT = """
import os
from crosspeer import Hooks

class Chat(Hooks):
    def open(self, peer):
        peer.subscribe("chat")
        peer.send(f"worker {os.getpid()}")

    def message(self, peer, message):
        peer.publish("chat", message.text())
"""

STUBBORN = """
    async def close(self, peer, details):
        import asyncio
        await asyncio.sleep(60)
"""


async def code_at_the_end(client: Client) -> int:
    """Read to the close frame, past whatever comes before it."""
    try:
        while True:
            await client.receive()
    except ConnectionClosed as closed:
        return closed.code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    return tmp_path


async def enter(stack: AsyncExitStack, command: Command) -> tuple[int, Client]:
    """A client, and the process that serves it."""
    client = await stack.enter_async_context(sockets.connect(command.url.replace("http", "ws"), timeout=20))
    greeting = await client.receive()
    assert isinstance(greeting, str)
    return int(greeting.removeprefix("worker ")), client


async def one_of_each(stack: AsyncExitStack, command: Command, other_than: int | None = None) -> dict[int, Client]:
    """Clients until two processes serve some: the system spreads connections as it likes."""
    found: dict[int, Client] = {}
    async with asyncio.timeout(30):
        while len(found) < 2:
            process, client = await enter(stack, command)
            if process == other_than or process in found:
                await client.close()
                await asyncio.sleep(0.02)
            else:
                found[process] = client
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_workers_share_their_topics_and_end_together(folder: Path, number: int) -> None:
    async with serving("chat:Chat", "--workers", "2", cwd=folder) as command, AsyncExitStack() as stack:
        (one, first), (two, second) = (await one_of_each(stack, command)).items()
        assert command.process.pid not in (one, two)
        for attempt in range(200):
            # The other worker's first subscription may still be on its way.
            await first.send(f"hello {attempt}")
            try:
                heard = await second.receive(timeout=0.25)
            except TimeoutError:
                continue
            assert str(heard).startswith("hello")
            break
        command.signal(number)
        for client in (first, second):
            assert await code_at_the_end(client) == 1012
        assert await command.ended() == 0
    for process in (one, two):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


async def test_a_worker_that_dies_is_replaced_and_the_others_go_on(folder: Path) -> None:
    async with serving("chat:Chat", "--workers", "2", cwd=folder) as command, AsyncExitStack() as stack:
        (victim, client), (_, witness) = (await one_of_each(stack, command)).items()
        os.kill(victim, signal.SIGKILL)
        assert await code_at_the_end(client) == 1006
        await command.printed("another takes its place")
        assert len(await one_of_each(stack, command, other_than=victim)) == 2
        await witness.send("still here")


async def test_the_second_signal_ends_it_now(folder: Path) -> None:
    (folder / "chat.py").write_text(CHAT + STUBBORN)
    async with serving("chat:Chat", "--workers", "2", cwd=folder) as command, AsyncExitStack() as stack:
        process, _ = await enter(stack, command)
        command.signal()
        await command.printed("once more to stop now")
        command.signal()
        assert await command.ended() == 130
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nothing:here", "--workers", "2"], "there is no module nothing"),
        (["chat:Chat", "--workers", "2", "--reload"], "--reload goes with one worker"),
        (["chat:Chat", "--workers", "0"], "--workers"),
        (["chat:Chat", "--sync", "mysql://localhost"], "no backend is known by 'mysql'"),
        (["chat:Chat", "--sync", "local://"], "path of a socket"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
async def test_wrong_inputs(folder: Path, options: list[str], says: str) -> None:
    async with crosspeer("serve", *options, "--port", "0", cwd=folder) as command:
        assert await command.ended() in (1, 2)
        assert says in command.output
        assert "Traceback" not in command.output


async def test_no_peer_comes_by_event_source_where_a_post_could_not_find_it(folder: Path) -> None:
    async with serving("chat:Chat", "--workers", "2", cwd=folder) as command:
        with pytest.raises(HandshakeRefused) as refused:
            await events.connect(command.url, timeout=20)
        assert refused.value.status == 426
