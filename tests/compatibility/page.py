"""The page of the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from compatibility.crossws import CROSSWS
from compatibility.effects import EFFECTS, NO, PARTLY, YES, marks
from compatibility.results import TESTS, Column
from crosspeer import Message, Peer
from crosspeer.core.hooks import HOOK_NAMES
from crosspeer.core.peer import WebSocketInfo

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"
ORDER: Final = (
    *("native engine", "Python engine", "uvicorn engine"),
    *("uvicorn", "hypercorn", "gunicorn", "daphne", "granian", "granian (RSGI)"),
    *("aiohttp", "tornado", "sanic", "websockets", "picows", "event streams"),
)
"""The columns from left to right. Others follow in the order of their names."""

INTRODUCTION: Final = f"""\
# Compatibility

<!-- Made by `make docs` of what the tests found: change the tests, not this page. -->

The same hooks run on every server. Where a server cannot do something, it is here, with what happens instead; nothing
else differs. Each column is the result of one suite, `crosspeer.testing.contracts`, on the real server in the version
of [constraints.txt](../constraints.txt). The last one is crossws 0.4.17, which the hooks are modelled on: that is read
from its sources, not run by these tests.

{YES} works · {PARTLY} works in part · {NO} does nothing

* The three engines are those of crosspeer's own server: [serving](serving.md).
* *uvicorn* stands for all of its WebSocket implementations (websockets-sansio, wsproto and the old websockets), alone
  and as a worker of gunicorn. *gunicorn* is its own ASGI worker.
* *granian* is its ASGI interface, which does more than its own, RSGI.
"""


def members() -> dict[str, list[str]]:
    """The rows, by the heading that they stand under."""
    covered = set().union(*TESTS.values())

    def others(name: str) -> list[str]:
        return sorted(member for member in covered if member.startswith(name + "."))

    peer = [f"Peer.{name}" for name in _public(Peer) if name != "websocket"]
    websocket = [f"Peer.websocket.{name}" for name in _public(WebSocketInfo)]
    return {
        "Hooks": [f"Hooks.{name}" for name in HOOK_NAMES],
        "What `upgrade` may answer": ["Response", *others("Upgrade")],
        "What `close` is told": others("CloseDetails"),
        "Peer": [*peer, "str(peer)", *websocket],
        "Message": [*(f"Message.{name}" for name in _public(Message)), "str(message)"],
        "Hub": others("Hub"),
        "Limits": others("Limits"),
    }


def render(columns: Mapping[str, Column]) -> str:
    """The whole page."""
    titles = sorted(columns, key=lambda title: (ORDER.index(title) if title in ORDER else len(ORDER), title))
    notes = Notes()
    parts = [INTRODUCTION]
    for heading, rows in members().items():
        parts.append(f"\n## {heading}\n\n")
        parts.append(_row("", [*titles, "crossws"]))
        parts.append(_row("---", [":-:"] * (len(titles) + 1)))
        for member in rows:
            cells = [_cell(columns[title], title, member, notes) for title in titles]
            parts.append(_row(f"`{_short(member)}`", [*cells, _crossws(member, notes)]))
    parts.append("\n")
    parts.extend(notes.lines())
    return "".join(parts)


def titles_of(page: str) -> set[str]:
    """The servers that a page has columns for."""
    header = next((line for line in page.splitlines() if line.startswith("|")), "")
    return {cell.strip() for cell in header.split("|")} - {"", "crossws"}


class Notes:
    """The footnotes: each text once, with the servers that it is for and their reasons."""

    def __init__(self) -> None:
        self._servers: dict[str, dict[str, list[str]]] = {}

    def mark(self, server: str, text: str, reason: str = "") -> str:
        """The reference to a footnote."""
        servers = self._servers.setdefault(text, {}).setdefault(reason, [])
        if server not in servers:
            servers.append(server)
        return f"[^{list(self._servers).index(text) + 1}]"

    def lines(self) -> Iterator[str]:
        for number, (text, reasons) in enumerate(self._servers.items(), 1):
            why = (
                f"*{', '.join(servers)}*" + (f": {reason.rstrip('.')}" if reason else "")
                for reason, servers in reasons.items()
            )
            yield f"[^{number}]: {text} {'; '.join(why)}.\n"


def _cell(column: Column, server: str, member: str, notes: Notes) -> str:
    outcomes = {column.tests[test] for test, covered in TESTS.items() if member in covered}
    assert outcomes <= {"passed", "skipped"}, f"{server}: not every test of {member} passed"
    mark, because = marks(set(column.lacks), member)
    return mark + "".join(notes.mark(server, EFFECTS[name].note, column.lacks[name]) for name in because)


def _crossws(member: str, notes: Notes) -> str:
    mark, note = CROSSWS.get(member, (YES, ""))
    return mark + (notes.mark("crossws", note) if note else "")


def _row(first: str, cells: list[str]) -> str:
    return "| " + " | ".join([first, *cells]) + " |\n"


def _short(member: str) -> str:
    return member.removeprefix("Hooks.")


def _public(cls: type) -> list[str]:
    return [name for name in vars(cls) if not name.startswith("_")]
