"""`crosspeer peerserver` as who runs it meets it: flags, environment, output, TLS, signals."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from click.testing import CliRunner

from brokers import join, relays
from crosspeer.cli import main
from crosspeer.peerjs import PeerServer

START = re.compile(r"Started PeerServer on (\S+), port: (\d+), path: (\S+)\n")
TIMEOUT = 20


class Command:
    """A running broker, with what it wrote."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            self.lines.append((await self.process.stdout.readline()).decode())
        return self.lines[-1]

    async def started(self) -> re.Match[str]:
        found = START.fullmatch(await self.line())
        assert found is not None, self.lines
        return found

    async def ended(self) -> tuple[int, str, str]:
        """Its status, and the rest of both its outputs."""
        async with asyncio.timeout(TIMEOUT):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, (out or b"").decode(), err.decode()


@asynccontextmanager
async def command(*arguments: str, stdout: int = asyncio.subprocess.PIPE, **environment: str) -> AsyncIterator[Command]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crosspeer", "peerserver", *arguments,
        stdout=stdout, stderr=asyncio.subprocess.PIPE, env=os.environ | environment,
    )  # fmt: skip
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_and_who_comes_and_goes(number: int) -> None:
    async with command("--port", "0", "--path", "/myapp") as broker:
        address, port, path = (await broker.started()).groups()
        assert (address, path) == ("::", "/myapp")
        for host in ("127.0.0.1", "[::1]"):
            client = await join(f"http://{host}:{port}", "alice", base="/myapp/")
            assert await broker.line() == "Client connected: alice\n"
            await client.close()
            assert await broker.line() == "Client disconnected: alice\n"
        client = await join(f"http://127.0.0.1:{port}", "bob", base="/myapp/")
        assert await broker.line() == "Client connected: bob\n"
        broker.process.send_signal(number)
        assert await client.wait_closed() == 1012
        assert await broker.ended() == (0, "Client disconnected: bob\nHttp server closed.\n", "")


async def test_flags_and_environment_reach_the_broker() -> None:
    arguments = ["-p=0", "-k", "secret", "-t", "100", "--concurrent_limit=2", "--allow_discovery", "-H", "127.0.0.1"]
    arguments += ["--cors", "https://a.example", "https://b.example", "--origin", "https://a.example"]
    turn = {"PEERSERVER_TURN_SECRET": "north", "PEERSERVER_PATH": "elsewhere"}
    async with command(*arguments, "--turn_url", "turn:turn.example.com", **turn) as broker:
        address, port, path = (await broker.started()).groups()
        assert (address, path) == ("127.0.0.1", "/elsewhere")
        url = f"http://127.0.0.1:{port}"
        alice = await join(url, "alice", key="secret", base="/elsewhere/")
        await alice.send('{"type":"OFFER","payload":1,"dst":"ghost"}')
        assert await alice.receive_json(timeout=10) == {"type": "EXPIRE", "src": "ghost", "dst": "alice"}
        async with httpx.AsyncClient(base_url=f"{url}/elsewhere") as http:
            answer = await http.get("/secret/peers", headers={"origin": "https://b.example"})
            assert answer.json() == ["alice"]
            assert answer.headers["access-control-allow-origin"] == "https://b.example"
            refused = await http.get("/secret/peers", headers={"origin": "https://c.example"})
            assert "access-control-allow-origin" not in refused.headers
            assert (await http.get("/secret/turn")).json()["urls"] == ["turn:turn.example.com"]
        await alice.close()


async def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subprocess.run([*new, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    trust = ssl.create_default_context(cafile=str(certificate))
    async with command("--port", "0", "--sslkey", str(key), "--sslcert", str(certificate)) as broker:
        port = (await broker.started())[2]
        async with httpx.AsyncClient(verify=trust) as http:
            assert len((await http.get(f"https://127.0.0.1:{port}/peerjs/id")).text) == 36
        url = f"wss://127.0.0.1:{port}/peerjs?key=peerjs&id=a&token=t"
        async with websockets.connect(url, ssl=trust, proxy=None) as client:
            assert await client.recv() == '{"type":"OPEN"}'
        broker.process.send_signal(signal.SIGTERM)
        status, _, err = await broker.ended()
        assert (status, err) == (0, "")


@pytest.mark.parametrize("flag", ["--sslkey", "--sslcert"])
async def test_half_a_certificate_is_none(flag: str) -> None:
    async with command("--port", "0", flag, "nowhere.pem") as broker:
        warning = "Warning: PeerServer will not run because either the key or the certificate has not been provided.\n"
        assert await broker.ended() == (1, "", warning)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "Missing option '--port'"),
        (["--port", "99999"], 2, "99999 is not in the range"),
        (["--port", "0", "--host", "203.0.113.1"], 1, "crosspeer: cannot listen on port 0 of 203.0.113.1"),
        (["--port", "0", "--key", ""], 1, "crosspeer: the key must not be empty"),
        (["--port", "0", "--turn_url", "turn:x"], 1, "crosspeer: TURN needs both"),
        (["--port", "0", "--turn_url", "http:x", "--turn_secret", "s"], 1, "is no URL of a TURN server"),
        (["--port", "0", "--sync", "mysql://localhost"], 1, "no backend is known by 'mysql'"),
        (["--port", "0", "--origin", "a.example"], 1, "is no origin"),
        (["--port", "0", "--sslkey", "no.pem", "--sslcert", "no.pem"], 1, "crosspeer: "),
    ],
)
async def test_wrong_input_is_answered_in_a_line(arguments: list[str], status: int, says: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "crosspeer", "peerserver", *arguments],
        capture_output=True, text=True, timeout=TIMEOUT, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


async def test_an_unknown_flag_is_ignored_and_named() -> None:
    async with command("--port", "0", "--pth", "/x", "--nonsense=1") as broker:
        assert (await broker.started())[3] == "/"
        broker.process.send_signal(signal.SIGTERM)
        status, _, err = await broker.ended()
        assert status == 0
        assert err.splitlines() == [
            "crosspeer: peerserver has no --pth, which is ignored",
            "crosspeer: peerserver has no --nonsense, which is ignored",
        ]


async def test_a_reader_of_its_output_that_stops_does_not_stop_it() -> None:
    reading, writing = os.pipe()
    try:
        async with command("--port", "0", stdout=writing) as broker:
            os.set_blocking(reading, False)
            line = b""
            async with asyncio.timeout(TIMEOUT):
                while not line.endswith(b"\n"):
                    await asyncio.sleep(0.01)
                    with contextlib.suppress(BlockingIOError):
                        line += os.read(reading, 1000)
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
            url = f"http://127.0.0.1:{START.fullmatch(line.decode())[2]}"  # type: ignore[index]
            for number in range(100):
                client = await join(url, f"{'x' * 60}{number:04}")
                await client.close()
            alice = await join(url, "alice")
            await relays(alice, "alice", alice, "alice")
            await alice.close()
            broker.process.send_signal(signal.SIGTERM)
            assert (await broker.ended())[0] == 0
    finally:
        os.close(reading)
        os.close(writing)


# The table of flags of `peerjs --help`, and what each does to the options.

DEFAULTS: dict[str, Any] = {
    "expire_timeout": 5.0, "concurrent_limit": 5000, "alive_timeout": 60.0, "key": "peerjs", "path": "/",
    "allow_discovery": False, "proxied": False, "cors": None, "origins": "*", "turn": None, "cleanup_out_msgs": 1.0,
}  # fmt: skip
FLAGS = [
    ([], {}),
    (["--expire_timeout", "7000"], {"expire_timeout": 7.0}),
    (["-t", "250"], {"expire_timeout": 0.25}),
    (["-t=250"], {"expire_timeout": 0.25}),
    (["--concurrent_limit", "7"], {"concurrent_limit": 7}),
    (["-c", "7"], {"concurrent_limit": 7}),
    (["--alive_timeout=90000"], {"alive_timeout": 90.0}),
    (["--key", "k"], {"key": "k"}),
    (["-k", "k"], {"key": "k"}),
    (["--path", "/a"], {"path": "/a/"}),
    (["--path", "a/"], {"path": "/a/"}),
    (["--allow_discovery"], {"allow_discovery": True}),
    (["--allow_discovery", "true"], {"allow_discovery": True}),
    (["--allow_discovery", "false"], {}),
    (["--allow_discovery=false"], {}),
    (["--no-allow_discovery"], {}),
    (["--allow_discovery", "--key", "k"], {"allow_discovery": True, "key": "k"}),
    (["--proxied"], {"proxied": True}),
    (["--proxied=true"], {"proxied": True}),
    (["--cors", "https://a"], {"cors": ("https://a",)}),
    (["--cors", "https://a", "--cors", "https://b"], {"cors": ("https://a", "https://b")}),
    (["--cors", "https://a", "https://b", "--key", "k"], {"cors": ("https://a", "https://b"), "key": "k"}),
]


@pytest.mark.parametrize(("arguments", "expected"), FLAGS, ids=[" ".join(row[0]) for row in FLAGS])
@pytest.mark.parametrize("environment", [{}, {"PORT": "0", "PEERSERVER_PATH": "/env"}], ids=["flags", "environment"])
def test_the_flags_of_npm(
    arguments: list[str], expected: dict[str, Any], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[PeerServer] = []
    monkeypatch.setattr(
        "crosspeer.cli_peerserver.serve", lambda server, sock, **_: (served.append(server), sock.close())
    )
    port = [] if environment else ["--port", "0"]
    result = CliRunner().invoke(main, ["peerserver", *port, *arguments], env={"PORT": None, **environment})
    assert result.exit_code == 0, result.output
    path = {"path": "/env/"} if environment else {}
    options = served[0].options
    assert {name: getattr(options, name) for name in DEFAULTS} == DEFAULTS | path | expected


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_flag_of_npm(flag: str) -> None:
    text = CliRunner().invoke(main, ["peerserver", flag]).output
    long = (
        "expire_timeout concurrent_limit alive_timeout key sslkey sslcert host port path allow_discovery proxied cors"
    )
    for name in (*(f"--{name}" for name in long.split()), "-t", "-c", "-k", "-H", "-p"):
        assert name in text


def test_version() -> None:
    assert "version" in CliRunner().invoke(main, ["peerserver", "--version"]).output


async def test_workers_are_one_broker() -> None:
    async with command("--port", "0", "-H", "127.0.0.1", "--workers", "2") as broker:
        address, port, path = (await broker.started()).groups()
        assert (address, path) == ("127.0.0.1", "/")
        url = f"http://127.0.0.1:{port}"
        ids = [f"c{number}" for number in range(8)]
        clients = [await join(url, id) for id in ids]
        assert sorted([await broker.line() for _ in ids]) == [f"Client connected: {id}\n" for id in ids]
        for at in range(7):
            await relays(clients[at], ids[at], clients[at + 1], ids[at + 1])
        again = await join(url, "c0")
        assert await clients[0].wait_closed() == 4501
        broker.process.send_signal(signal.SIGTERM)
        for client in (*clients[1:], again):
            assert await client.wait_closed() == 1012
        status, out, err = await broker.ended()
        assert (status, err) == (0, "")
        assert out.endswith("Http server closed.\n")
