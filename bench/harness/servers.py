"""Who is measured: how each server is started, or why it cannot be."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import Failure
from harness.paths import LOAD, PYTHON, SERVERS

Command = list[str]


@dataclass(frozen=True, slots=True)
class Server:
    """A row of the tables."""

    name: str
    title: str
    command: Callable[[], Command]
    """Raises `Failure` when something it needs is not there."""
    environment: dict[str, str] = field(default_factory=dict)
    by_default: bool = True


def _floor() -> Command:
    return [str(LOAD), "floor"]


def _python(script: str) -> Callable[[], Command]:
    def command() -> Command:
        is_ours = "crosspeer" in script or "broker" in script
        python = Path(os.environ.get("BENCH_CROSSPEER_PYTHON") or PYTHON) if is_ours else PYTHON
        if not python.exists():
            raise Failure("its Python environment could not be made")
        return [str(python), str(SERVERS / script)]

    return command


def _node(script: str, package: str) -> Callable[[], Command]:
    def command() -> Command:
        node = shutil.which("node")
        if node is None:
            raise Failure("Node is not installed")
        if not (SERVERS / "node_modules" / package).exists():
            raise Failure(f"the npm package {package} is not installed")
        return [node, str(SERVERS / script)]

    return command


def _bun() -> Command:
    return [bun(), str(SERVERS / "crossws_bun.ts")]


def bun() -> str:
    """The binary of the npm package, found without that package's install script; else one that is on the path."""
    machine = {"x86_64": "x64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    for libc in ("", "-musl"):
        binary = SERVERS / "node_modules" / "@oven" / f"bun-{platform.system().lower()}-{machine}{libc}" / "bin" / "bun"
        if binary.exists():
            return str(binary)
    if installed := shutil.which("bun"):
        return installed
    raise Failure("Bun is not installed, and npm had no binary of it for this machine")


def _crosspeer(engine: str, by_default: bool = True) -> Server:
    command, environment = _python("crosspeer_server.py"), {"CROSSPEER_ENGINE": engine}
    return Server(f"crosspeer-{engine}", f"crosspeer, {engine} engine", command, environment, by_default=by_default)


SERVERS_UNDER_TEST: Sequence[Server] = (
    Server("floor", "floor", _floor),
    _crosspeer("native"),
    _crosspeer("python"),
    _crosspeer("uvicorn", by_default=False),
    Server("crossws-bun", "crossws on Bun", _bun),
    Server("crossws-node", "crossws on Node", _node("crossws_node.mjs", "crossws")),
    Server("ws-node", "ws on Node", _node("ws_node.mjs", "ws")),
    Server("picows", "picows", _python("picows_server.py")),
    Server("websockets", "websockets", _python("websockets_server.py")),
    Server("uvicorn", "uvicorn", _python("uvicorn_server.py")),
)
FLOOR, BUN = "floor", "crossws-bun"


def _broker(engine: str) -> Server:
    command, environment = _python("broker_server.py"), {"CROSSPEER_ENGINE": engine}
    return Server(f"crosspeer-{engine}", f"crosspeer, {engine} engine", command, environment)


PEER = "npm-peer"
BROKERS: Sequence[Server] = (
    _broker("native"),
    _broker("python"),
    Server(PEER, "npm peer", _node("peer_node.mjs", "peer")),
)
"""The PeerJS brokers."""
