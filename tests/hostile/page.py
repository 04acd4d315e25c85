"""docs/hostile.md: the table, and what the tests found."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from hostile.table import KINDS, SERVERS, Row, Test, nodes_of, rows

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "hostile.md"
COSTS: Final = "## What they cost"
INTRODUCTION: Final = """\
# Hostile inputs

<!-- Made by `make docs` of what the tests found: change tests/hostile/table.toml and the tests, not this page. -->

What clients have done to servers like this one, and what they get here. Every row is done by tests to the real thing,
on what stands beside it: the three engines of crosspeer's own server (*native*, *Python*, and the ASGI adapter on
*uvicorn*), the other servers that have an adapter, event streams, the broker, real backends. While it is done, another
peer is served, and nothing is logged but a line without control characters; a peer that is closed for what it did is
counted in `hub.violations`, or by the broker in `metrics.refused`.

[Security](security.md) says what is trusted and how to set a server up; [fuzzing](fuzzing.md) feeds the same parsers
what nobody has thought of.
"""
COST_TEXT: Final = """\
MiB of resident memory that eight hostile clients, or eight times as much of the same, add to a server in a process of
its own, beyond what one of them did; measured when this page was made. The bound is what the tests hold it to.
"""


def render(nodeids: Collection[str], outcomes: Mapping[str, str], costs: Mapping[str, Mapping[str, float]]) -> str:
    """The whole page.

    Args:
        nodeids: tests, as pytest names them.
        outcomes: how they ended; one that is not there counts as passed.
        costs: MiB, by row and server.
    """
    parts = [INTRODUCTION]
    for kind, title in KINDS.items():
        parts.append(f"\n## {title}\n\n")
        parts += _line("", "attack", "what comes in", "what it gets", "on", "outcome", "tests")
        parts += _line(*["---"] * 7)
        for row in rows().values():
            if row.id.startswith(kind):
                found = {nodeid for test in row.tests for nodeid in nodes_of(test, nodeids)}
                cells = (row.attack, row.input, row.answer, _places(row, nodeids), _outcome(row, found, outcomes))
                parts += _line(row.id, *cells, _links(row))
    parts.append(f"\n{COSTS}\n\n{COST_TEXT}\n")
    servers = [name for name in (*SERVERS.values(), "broker") if any(name in each for each in costs.values())]
    parts += _line("", *servers, "bound")
    parts += _line("---", *["--:"] * (len(servers) + 1))
    for row in rows().values():
        if row.mib is not None:
            mibs = (costs.get(row.id, {}).get(server) for server in servers)
            parts += _line(row.id, *("" if mib is None else f"{max(mib, 0):.1f}" for mib in mibs), f"{row.mib:g}")
    return "".join(parts)


def without_figures(page: str) -> str:
    """A page without what is measured: of the costs, the rows and their bounds."""
    head, _, costs = page.partition(COSTS)
    lines = [line.split(" | ") for line in costs.splitlines() if re.match(r"\| [A-Z]", line)]
    return "\n".join([head, *(f"{cells[0]} | {cells[-1]}" for cells in lines)])


def _places(row: Row, nodeids: Collection[str]) -> str:
    """What the tests of a row run on: the servers by themselves, all else with what it is."""
    places: dict[str, list[str]] = {}
    for test in row.tests:
        on = places.setdefault(test.on, [])
        found = (name for nodeid in nodes_of(test, nodeids) for name in test.runs_on(nodeid))
        on += dict.fromkeys(name for name in found if name not in on)
    texts = []
    for on, names in places.items():
        names.sort(key=list(SERVERS.values()).index)
        inside = ", ".join(names)
        texts.append(f"{on} ({inside})" if on and names else on or inside)
    return "; ".join(texts)


def _outcome(row: Row, found: Collection[str], outcomes: Mapping[str, str]) -> str:
    if row.absent:
        return f"no test: {row.absent}"
    ends = {outcomes.get(nodeid, "passed") for nodeid in found}
    if "failed" in ends:
        return "**fails**"
    return "holds" if "passed" in ends else "not run"


def _links(row: Row) -> str:
    links: dict[Test, str] = {}
    for test in row.tests:
        links.setdefault(Test(test.path), f"[{test.function}](../tests/{test.file})")
    return " ".join(links.values())


def _line(*cells: str) -> list[str]:
    return ["| ", " | ".join(cell.replace("|", "\\|") for cell in cells), " |\n"]
