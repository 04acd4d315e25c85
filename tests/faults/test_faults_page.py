"""docs/faults.md names tests that are there, a row for each fault."""

from __future__ import annotations

import re
from typing import Final

from pages import ROOT

PAGE: Final = ROOT / "docs" / "faults.md"
ROWS: Final = [f"F{number}" for number in range(6, 23) if number != 14]
"""F1 to F5 and F14 are about many nodes: `make faults` has them."""


def test_there_is_a_row_for_each_fault_and_each_has_tests() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "](" in line]
    named = [name for line in lines if (name := line.split("|")[1].strip())]
    assert named == ROWS
    assert all("@" not in line for line in lines)


def test_each_test_that_is_named_is_there() -> None:
    found = re.findall(r"\[(test_\w+)\]\(\.\./([\w/.]+)\)", PAGE.read_text())
    assert len(found) > 40
    for name, path in found:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"
