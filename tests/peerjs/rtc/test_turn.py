"""Relay-only connections over the real coturn, on each engine."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import stun
from crosspeer.peerjs import Peer, PeerError
from crosspeer.peerjs.rtc.choose import NAMES
from peers import DEADLINE, Peers, ScriptedBroker, connected, own_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TURNSERVER = shutil.which("turnserver", path=":".join(("/usr/bin", "/usr/sbin", "/usr/local/bin")))

pytestmark = pytest.mark.skipif(
    TURNSERVER is None, reason="coturn is not installed here: it is Debian's package coturn"
)


def own_address() -> str:
    """The address that this machine has for others: relays do not talk to the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent by this.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but that of the loopback")
        address: str = probe.getsockname()[0]
        return address


@asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """coturn on a free port: an ICE server of a config."""
    assert TURNSERVER is not None
    address = own_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    lines = [
        f"listening-ip={address}",
        f"relay-ip={address}",
        f"listening-port={port}",
        "lt-cred-mech",
        "user=ada:north",
    ]
    lines += ["realm=test", "no-tls", "no-dtls", "no-cli", "simple-log", "fingerprint"]
    lines += [f"{name}={folder / name}" for name in ("pidfile", "log-file", "userdb")]
    (folder / "turnserver.conf").write_text("\n".join([*lines, ""]))
    process = await asyncio.create_subprocess_exec(
        TURNSERVER, "-c", str(folder / "turnserver.conf"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE):
            while await stun.is_silent(address, port):
                assert process.returncode is None, (folder / "log-file").read_text()
        yield {"urls": [f"turn:{address}:{port}"], "username": "ada", "credential": "north"}
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("callee", NAMES)
@pytest.mark.parametrize("caller", NAMES)
async def test_data_goes_over_the_relay_alone(tmp_path: Path, caller: str, callee: str) -> None:
    seen: list[str] = []
    async with coturn(tmp_path) as server, ScriptedBroker().running() as broker:
        config = {"iceServers": [server], "iceTransportPolicy": "relay"}
        peers = Peers({**broker.where, "config": config})
        relaying: set[asyncio.Task[None]] = set()

        def relay(src: str, frame: dict[str, Any]) -> None:
            seen.append(json.dumps(frame["payload"]))
            to = frame.pop("dst")
            task = asyncio.ensure_future(broker.say(to, {"src": src, **frame}))
            relaying.add(task)
            task.add_done_callback(relaying.discard)

        broker.relay = relay
        try:
            alice, bob = await peers.open("alice", engine=caller), await peers.open("bob", engine=callee)
            pair = await connected(alice, bob, reliable=True)
            for end, other in ((pair.here, pair.there), (pair.there, pair.here)):
                await end.send(b"x" * 200_000)
                async with asyncio.timeout(DEADLINE):
                    assert await other.receive() == b"x" * 200_000
        finally:
            await peers.destroy()
    candidates = [part for text in seen for part in text.split("candidate:")[1:]]
    assert len(candidates) >= 2
    assert all(" typ relay" in candidate for candidate in candidates), "nobody learns an address of this machine"


@pytest.mark.parametrize("engine", NAMES)
async def test_without_a_relay_nothing_else_is_tried(engine: str) -> None:
    config = {
        "iceServers": [{"urls": "turn:127.0.0.1:1", "username": "ada", "credential": "north"}],
        "iceTransportPolicy": "relay",
    }
    async with own_broker() as where, Peer("bob", **where):
        alice = await Peer("alice", **{**where, "config": config}, engine=engine)
        with pytest.raises(PeerError) as raised:
            await alice.connect("bob", timeout=0.5)
        assert raised.value.type == "negotiation-failed"
        await alice.destroy()
