"""TURN credentials: their form, and what the real coturn makes of them."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import stun
from crosspeer.peerjs import Turn
from crosspeer.peerjs.broker.turn import password

TURNSERVER = shutil.which("turnserver", path=":".join(("/usr/bin", "/usr/sbin", "/usr/local/bin")))
GUIDE = Path(__file__).parents[3] / "docs" / "peerserver.md"
SECRET = "north"
REALM = "turn.example.com"

# Made by `printf NAME | openssl dgst -sha1 -hmac SECRET -binary | base64`.
PASSWORDS = [
    ("north", "1700000000", "CWyHi3zCeWqXBir9thl4m+iZPRY="),
    ("north", "1700000000:alice", "Cd/49soE35ICqcJF/bCTn8Z4OyE="),
    ("north", "1433895918:user with spaces", "aG/A1ESTCJhnwcg79+xX91e/kO8="),
    (
        "a much longer secret, longer than the sixty-four bytes of a block of SHA-1",
        "1:x",
        "VQW1x99r+Kb8+i/VD4UVSVy8XEo=",
    ),
    ("schlüssel", "1700000000:alice", "TSwWaDTvMEMFNP9JWU/s4lJ8+y8="),
]


@pytest.mark.parametrize(("secret", "username", "expected"), PASSWORDS)
def test_passwords_are_those_of_openssl(secret: str, username: str, expected: str) -> None:
    assert password(secret, username) == expected


def test_credentials_are_an_ice_server_of_a_browser() -> None:
    turn = Turn(SECRET, ["turn:a", "turns:b?transport=tcp"], lifetime=60, now=lambda: 1699999940.9)
    assert turn.credentials() == {
        "urls": ["turn:a", "turns:b?transport=tcp"],
        "username": "1700000000",
        "credential": password(SECRET, "1700000000"),
        "ttl": 60,
    }
    assert turn.credentials("alice")["username"] == "1700000000:alice"
    assert Turn(SECRET, "turn:a").credentials()["urls"] == ["turn:a"]
    assert SECRET not in repr(turn)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("", "turn:a"), {}, "must not be empty"),
        ((SECRET, []), {}, "give the URLs"),
        ((SECRET, ["https://a"]), {}, "'https://a' is no URL of a TURN server"),
        ((SECRET, "turn:a"), {"lifetime": 0}, "lifetime is a number of seconds from 1 to 86400, not 0"),
        ((SECRET, "turn:a"), {"lifetime": 86_401}, "not 86401"),
    ],
)
def test_what_is_no_turn_server(arguments: Any, options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Turn(*arguments, **options)


# The real coturn, with the configuration of the guide.


def documented() -> str:
    """The configuration that the guide shows."""
    found = re.search(r"^```ini\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """coturn on a free port of the loopback."""
    assert TURNSERVER is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = ("listening-port", "tls-listening-port", "cert", "pkey", "static-auth-secret", "realm", "no-cli")
    kept = [line for line in documented().splitlines() if not line.startswith(ours)]
    here = [f"listening-port={port}", "listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "no-tls", "no-dtls", "no-cli"]
    here += [f"static-auth-secret={SECRET}", f"realm={REALM}", "simple-log"]
    here += [f"{name}={folder / name}" for name in ("pidfile", "log-file", "userdb")]
    configuration = folder / "turnserver.conf"
    configuration.write_text("\n".join([*kept, *here, ""]))
    process = await asyncio.create_subprocess_exec(
        TURNSERVER, "-c", str(configuration), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while await stun.is_silent("127.0.0.1", port):
                assert process.returncode is None, (folder / "log-file").read_text()
        yield "127.0.0.1", port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


needs_coturn = pytest.mark.skipif(
    TURNSERVER is None, reason="coturn is not installed here: it is Debian's package coturn"
)


@needs_coturn
async def test_an_allocation_succeeds_with_minted_credentials_alone(tmp_path: Path) -> None:
    good = Turn(SECRET, "turn:a").credentials("alice")
    expired = Turn(SECRET, "turn:a", lifetime=60, now=lambda: time.time() - 3600).credentials("alice")
    of_another = Turn("south", "turn:a").credentials("alice")
    longer = {**good, "username": f"{int(time.time()) + 9000}:alice"}
    async with coturn(tmp_path) as address:
        for credentials, answer in ((good, "allocated"), (expired, 401), (of_another, 401), (longer, 401)):
            async with stun.Allocation(*address) as allocation:
                assert await allocation.allocate(None) == 401
                assert await allocation.allocate(credentials) == answer, credentials
                if answer == "allocated":
                    assert allocation.relayed[0] == "127.0.0.1"


DENIED = ["127.0.0.1", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "224.0.0.1"]


@needs_coturn
async def test_the_documented_configuration_reaches_no_inner_address(tmp_path: Path) -> None:
    credentials = Turn(SECRET, "turn:a").credentials()
    async with coturn(tmp_path) as address, stun.Allocation(*address) as allocation:
        assert await allocation.allocate(None) == 401
        assert await allocation.allocate(credentials) == "allocated"
        assert {peer: await allocation.permit(peer) for peer in DENIED} == dict.fromkeys(DENIED, 403)
        assert await allocation.permit("198.51.100.1") == 403, "an address for documentation is none of the internet"
        assert await allocation.permit("8.8.8.8") == "permitted"
