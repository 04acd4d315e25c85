"""What the contract tests of a run found, by column."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crosspeer.core.transport import Capabilities
from crosspeer.testing.contracts import AdapterContract
from crosspeer.testing.contracts.covers import covered_by

FILE = Path(__file__).parent.parent.parent / "build" / "contract.json"
TESTS = {name: covered_by(test) for name, test in vars(AdapterContract).items() if name.startswith("test_")}
"""The tests of the contract, and the members that each covers."""
CAPABILITIES = [capability.name for capability in dataclasses.fields(Capabilities)]
_WORST_LAST = ("skipped", "passed", "failed")


@dataclass
class Column:
    """One server: what it cannot do and why, and how each test of the contract ended there."""

    lacks: dict[str, str] = field(default_factory=dict)
    """The capabilities that it lacks. The reason is empty where nobody gave one."""
    tests: dict[str, str] = field(default_factory=dict)
    """"passed", "failed" or (with all its parameters) "skipped"."""

    @property
    def is_complete(self) -> bool:
        """Whether every test ran, and none failed."""
        return self.tests.keys() >= TESTS.keys() and "failed" not in self.tests.values()

    def note(self, test: str, outcome: str) -> None:
        self.tests[test] = max(outcome, self.tests.get(test, "skipped"), key=_WORST_LAST.index)


class Results:
    """The columns of a run."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}

    def note(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Take down how a phase of a test ended, if it is one of the contract's on a server with a column."""
        cls = getattr(item, "cls", None)
        if cls is None or not issubclass(cls, AdapterContract) or not cls.column:
            return
        assert isinstance(item, pytest.Function)
        if report.failed:
            self._column(cls).note(item.originalname, "failed")
        elif report.when == "call":
            column = self._column(cls)
            column.note(item.originalname, report.outcome)
            able = item.funcargs["harness"].capabilities
            column.lacks |= {name: cls.reasons.get(name, "") for name in CAPABILITIES if not getattr(able, name)}

    def save(self) -> None:
        """Keep the complete columns, beside those of earlier runs."""
        complete = {title: dataclasses.asdict(column) for title, column in self.columns.items() if column.is_complete}
        if complete:
            kept = json.loads(FILE.read_text()) if FILE.exists() else {}
            FILE.parent.mkdir(exist_ok=True)
            FILE.write_text(json.dumps(kept | complete, indent=1, sort_keys=True))

    def _column(self, cls: Any) -> Column:
        return self.columns.setdefault(cls.column, Column())


RESULTS = pytest.StashKey[Results]()
"""Where pytest keeps the results of its run."""


def load() -> dict[str, Column]:
    """The columns that were kept."""
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    return {title: Column(**column) for title, column in kept.items()}
