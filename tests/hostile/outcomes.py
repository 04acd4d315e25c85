"""What a run found of the table: how its tests ended, and what its rows cost. Kept in `build/hostile.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hostile.table import Test, rows

FILE: Final = Path(__file__).parent.parent.parent / "build" / "hostile.json"
_WORST_LAST: Final = ("skipped", "passed", "failed")


class Outcomes:
    """The tests of a run that the table names."""

    def __init__(self) -> None:
        self.tests: dict[str, str] = {}
        """How each ended that has run: "passed", "skipped" or "failed"."""
        self.costs: dict[str, dict[str, float]] = {}
        """MiB that hostile clients have cost, by row and server."""
        self.collected: dict[str, None] = {}
        """All of the session, those that are not to be run (slow ones) included."""
        self._paths = {test.path for test in _tests()}

    def collect(self, nodeid: str) -> None:
        if nodeid.removeprefix("tests/").partition("[")[0] in self._paths:
            self.collected[nodeid] = None

    def note(self, report: pytest.TestReport) -> None:
        """Take down how a phase of a test ended."""
        if report.nodeid in self.collected and (report.when == "call" or not report.passed):
            before = self.tests.get(report.nodeid, "skipped")
            self.tests[report.nodeid] = max(report.outcome, before, key=_WORST_LAST.index)

    def cost(self, row: str, server: str, mib: float) -> None:
        costs = self.costs.setdefault(row, {})
        costs[server] = max(mib, costs.get(server, 0.0))

    def save(self) -> None:
        """Keep them, beside those of earlier runs that still exist."""
        if not self.tests and not self.costs:
            return
        kept = load()
        for row, costs in self.costs.items():
            kept.costs.setdefault(row, {}).update(costs)
        FILE.parent.mkdir(exist_ok=True)
        found = {"tests": kept.tests | self.tests, "costs": kept.costs}
        FILE.write_text(json.dumps(found, indent=1, sort_keys=True))


OUTCOMES: Final = pytest.StashKey[Outcomes]()
"""Where pytest keeps those of its run."""


def load() -> Outcomes:
    """What was kept."""
    outcomes = Outcomes()
    if FILE.exists():
        kept = json.loads(FILE.read_text())
        outcomes.tests, outcomes.costs = kept["tests"], kept["costs"]
    return outcomes


def _tests() -> Iterator[Test]:
    for row in rows().values():
        yield from row.tests
