"""The table of hostile inputs: what it says (`table.toml`), and which tests of a run are a row's."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("table.toml")
KINDS: Final = {
    "H": "Handshakes and HTTP",
    "W": "Frames",
    "P": "Messages, event streams, nodes, proxy",
    "B": "The PeerJS broker",
    "R": "WebRTC and TURN",
}
SERVERS: Final = {
    "native": "native",
    "python": "Python",
    "uvicorn": "ASGI on uvicorn",
    "aiohttp": "aiohttp",
    "tornado": "tornado",
    "sanic": "sanic",
    "websockets": "websockets",
    "picows": "picows",
    "redis": "Redis",
    "nats": "NATS",
    "postgres": "PostgreSQL",
    "local": "local socket",
    "memory": "memory",
    "wrtc": "wrtc",
    "aiortc": "aiortc",
}
"""What the parameters of a test say of where it runs, in the order of the page."""
_ROW: Final = {"id", "attack", "input", "answer", "mib", "tests", "absent"}


@dataclass(frozen=True)
class Test:
    """A reference to tests of the suite: a function, or some of its parameters."""

    __test__ = False  # It is none itself.

    path: str
    """The file below tests/, "::" and the function."""
    parameters: str = ""
    """What has to be among the parameters; empty: anything."""
    on: str = ""
    """What it runs on, beside what its parameters say."""

    @property
    def function(self) -> str:
        return self.path.rpartition("::")[2]

    @property
    def file(self) -> str:
        return self.path.partition("::")[0]

    def means(self, nodeid: str) -> bool:
        """Whether a test of pytest's is meant."""
        path, _, parameters = nodeid.removeprefix("tests/").partition("[")
        if path != self.path:
            return False
        wanted = rf"(?:^|-){re.escape(self.parameters)}(?:-|\]$)"
        return not self.parameters or re.search(wanted, parameters) is not None

    def runs_on(self, nodeid: str) -> list[str]:
        """The servers, engines or backends that the parameters of a test name."""
        words = nodeid.partition("[")[2].removesuffix("]").split("-")
        return [name for word, name in SERVERS.items() if word in words]


@dataclass(frozen=True)
class Row:
    """One hostile input."""

    id: str
    attack: str
    input: str
    answer: str
    tests: tuple[Test, ...] = ()
    mib: float | None = None
    """MiB that hostile clients of this row may cost a server."""
    absent: str = ""
    """Why there is no test."""


@cache
def rows() -> dict[str, Row]:
    """All rows, by their ids.

    Raises:
        ValueError: a row has a key that means nothing, or neither tests nor a reason to have none.
    """
    found = {}
    for entry in tomllib.loads(FILE.read_text())["row"]:
        if entry.keys() - _ROW or ("tests" in entry) is ("absent" in entry):
            raise ValueError(f"row {entry.get('id')} is not as it has to be")
        tests = tuple(map(_test, entry.pop("tests", ())))
        found[entry["id"]] = Row(tests=tests, **entry)
    return found


def bound(row: str) -> float:
    """The MiB that a row allows."""
    mib = rows()[row].mib
    assert mib is not None, f"row {row} has no bound"
    return mib


def nodes_of(test: Test, nodeids: Iterable[str]) -> list[str]:
    return [nodeid for nodeid in nodeids if test.means(nodeid)]


def _test(entry: Any) -> Test:
    text, on = (entry, "") if isinstance(entry, str) else (entry["test"], entry["on"])
    path, _, parameters = text.partition("[")
    return Test(path, parameters.removesuffix("]"), on)
