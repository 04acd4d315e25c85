"""The same conversations with the npm server `peer`, with ours, and with two nodes of ours: clients see the same."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from brokers import query, serving
from crosspeer.peerjs import PeerServer
from crosspeer.testing import Client, ConnectionClosed, HandshakeRefused, sockets
from fleet import until

NPM = Path(__file__).parents[2] / "interop" / "npm-peerjs" / "node_modules"
COMMAND = NPM / "peer" / "dist" / "bin" / "peerjs.js"
START = re.compile(r"Started PeerServer on (\S+), port: (\d+), path: (\S+)\n")
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not COMMAND.exists(), reason="the npm package peer is not installed here: it needs node and npm"
)


@asynccontextmanager
async def npm(*flags: str) -> AsyncIterator[list[str]]:
    """The command of the npm package, which takes no port 0."""
    assert NODE is not None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        NODE, COMMAND, "--port", str(port), *flags, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        assert START.fullmatch(line), line
        yield [f"http://127.0.0.1:{port}"]
    finally:
        process.kill()
        await process.communicate()


OPTIONS: dict[str, Callable[[str], Any]] = {
    "path": str,
    "key": str,
    "allow_discovery": bool,
    "concurrent_limit": int,
    "cors": lambda origin: [origin],
    "expire_timeout": lambda milliseconds: int(milliseconds) / 1000,
}


def options_of(flags: tuple[str, ...]) -> dict[str, Any]:
    given = zip(flags[::2], flags[1::2], strict=True)
    return {flag[2:]: OPTIONS[flag[2:]](value) for flag, value in given}


@asynccontextmanager
async def ours(*flags: str) -> AsyncIterator[list[str]]:
    async with serving(PeerServer(**options_of(flags)), "auto") as url:
        yield [url]


@asynccontextmanager
async def two_of_ours(*flags: str) -> AsyncIterator[list[str]]:
    """Whoever comes is on the other node than who came before."""
    backplane = f"memory://{os.urandom(4).hex()}"
    made = [PeerServer(sync=backplane, **options_of(flags)) for _ in range(2)]
    async with serving(made[0], "auto") as one, serving(made[1], "auto") as two:
        await until(lambda: all(node.metrics.nodes == 2 for node in made))
        yield [one, two]


HEADERS = ("origin", "methods", "headers")


class Talk:
    """Clients of one server, and a record of what they saw."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = itertools.cycle(urls)
        self.saw: list[Any] = []
        self.clients: dict[str, Client] = {}

    async def dial(self, name: str, path: str = "/peerjs", **parameters: Any) -> None:
        try:
            self.clients[name] = await sockets.connect(
                f"{next(self._urls).replace('http', 'ws')}{path}?{query(**parameters)}"
            )
        except HandshakeRefused as refused:
            self.saw.append((name, "refused", refused.status))

    async def hear(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            try:
                self.saw.append((name, await self.clients[name].receive(timeout=15)))
            except ConnectionClosed:
                # The codes are ours alone: npm sends none, and no peerjs client looks at them.
                self.saw.append((name, "closed"))

    async def say(self, name: str, message: Any) -> None:
        # As JavaScript writes it: then what is relayed is the same to the letter.
        await self.clients[name].send(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    async def get(self, path: str, method: str = "GET", **headers: str) -> None:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient() as http:
            answer = await http.request(method, next(self._urls) + path, headers=sent)
        kept = {name: answer.headers.get(f"access-control-allow-{name}") for name in HEADERS}
        kept["vary"] = answer.headers.get("vary")
        body = "an id" if re.fullmatch(r"[0-9a-f-]{36}", answer.text) else answer.text
        self.saw.append((method, path, answer.status_code, kept, "" if answer.status_code == 404 else body))


async def parameters(talk: Talk) -> None:
    for number, missing in enumerate(({"id": None}, {"token": None}, {"key": None}, {"id": ""}, {"key": "wrong"})):
        await talk.dial(f"{number}", **({"id": "a"} | missing))
        await talk.hear(f"{number}", 2)


async def paths(talk: Talk) -> None:
    for number, path in enumerate(("/peerjs/", "/PEERJS", "/", "/x/peerjs", "/peerjs/id")):
        await talk.dial(f"{number}", path, id="a")


async def messages(talk: Talk) -> None:
    for id in ("alice", "bob"):
        await talk.dial(id, id=id)
        await talk.hear(id)
    for message in (
        {
            "type": "OFFER",
            "payload": {"sdp": {"type": "offer", "sdp": "v=0\r\nü 😀"}, "n": [1, 2.5, None]},
            "dst": "bob",
        },
        {"dst": "bob", "extra": 1, "src": "carol", "type": "ANSWER", "payload": "text"},
        {"type": "CANDIDATE", "dst": "bob"},
        {"type": "CANDIDATE", "payload": None, "dst": "bob"},
        {"type": "LEAVE", "payload": {"x": 1}, "dst": "bob"},
        {"type": "EXPIRE", "dst": "bob"},
    ):
        await talk.say("alice", message)
        await talk.hear("bob")
    for message in ({"type": "HEARTBEAT"}, {}, {"ping": "once"}, {"type": "OFFER", "payload": 1, "dst": "alice"}):
        await talk.say("alice", message)
    await talk.hear("alice")


async def taken(talk: Talk) -> None:
    await talk.dial("first", id="a", token="one")
    await talk.hear("first")
    await talk.dial("second", id="a", token="two")
    await talk.hear("second", 2)
    await talk.clients["first"].close()
    await talk.dial("third", id="a", token="two")
    await talk.hear("third")


async def waiting(talk: Talk) -> None:
    await talk.dial("alice", id="alice")
    await talk.hear("alice")
    for message in ({"type": "OFFER", "payload": 1, "dst": "bob"}, {"type": "CANDIDATE", "payload": 2, "dst": "bob"},
                    {"type": "LEAVE", "dst": "bob"}):  # fmt: skip
        await talk.say("alice", message)
    await talk.say("alice", {"type": "OFFER", "payload": 3, "dst": "alice"})
    await talk.hear("alice")
    await talk.dial("bob", id="bob")
    await talk.hear("bob", 3)


async def expiry(talk: Talk) -> None:
    await talk.dial("alice", id="alice")
    await talk.hear("alice")
    for ghost in ("ghost1", "ghost2", "ghost1"):
        await talk.say("alice", {"type": "OFFER", "payload": 1, "dst": ghost})
    await talk.hear("alice", 2)


async def full(talk: Talk) -> None:
    for name in ("a", "b", "c"):
        await talk.dial(name, id=name)
        await talk.hear(name)
    await talk.hear("c")


async def routes(talk: Talk) -> None:
    for path in ("/", "/peerjs/id", "/peerjs/ID/", "/peerjs/peers", "/peerjs", "/nothing/at/all"):
        await talk.get(path)
        await talk.get(path, origin="https://a.example")
    await talk.get("/peerjs/id", "POST")
    await talk.get("/peerjs/id", "OPTIONS", origin="https://b.example", access_control_request_headers="x-a,x-b")
    await talk.get("/peerjs/id", "OPTIONS")


async def listed(talk: Talk) -> None:
    for name in ("zoe", "adam"):
        await talk.dial(name, id=name)
        await talk.hear(name)
    await talk.get("/peerjs/peers")


async def based(talk: Talk) -> None:
    for path in ("/MyApp", "/MyApp/", "/myapp/k/id", "/MyApp/k/peers/", "/", "/k/id"):
        await talk.get(path)
    await talk.dial("a", "/MyApp/peerjs", id="a", key="k")
    await talk.hear("a")
    await talk.dial("b", "/myapp/peerjs", id="b", key="k")


TALKS: list[tuple[Callable[[Talk], Any], list[str]]] = [
    (parameters, []),
    (paths, []),
    (messages, []),
    (taken, []),
    (waiting, []),
    (expiry, ["--expire_timeout", "300"]),
    (full, ["--concurrent_limit", "2"]),
    (routes, []),
    (routes, ["--cors", "https://a.example"]),
    (listed, ["--allow_discovery", "true"]),
    (based, ["--path", "/MyApp", "--key", "k"]),
]


@pytest.mark.parametrize(("talk", "flags"), TALKS, ids=[f"{row[0].__name__} {' '.join(row[1])}" for row in TALKS])
async def test_both_say_the_same(talk: Callable[[Talk], Any], flags: list[str]) -> None:
    records = []
    # The limit is that of each node.
    for server in (npm, ours) if talk is full else (npm, ours, two_of_ours):
        async with server(*flags) as urls:
            talking = Talk(urls)
            await talk(talking)
            for client in talking.clients.values():
                client.terminate()
            records.append(talking.saw)
    for record in records[1:]:
        assert record == records[0]


async def test_the_flags_are_those_of_its_help() -> None:
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(NODE, str(COMMAND), "--help", stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        text = (await process.communicate())[0].decode()
    theirs = set(re.findall(r"--[a-z_]+", text)) - {"--version", "--help"}
    from click.testing import CliRunner

    from crosspeer.cli import main

    our_text = CliRunner().invoke(main, ["peerserver", "--help"]).output
    assert theirs == {flag for flag in theirs if flag in our_text}
    assert len(theirs) == 12
