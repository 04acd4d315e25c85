"""The table of hostile inputs is whole, and docs/hostile.md says what it says."""

from __future__ import annotations

import pytest

from hostile.outcomes import OUTCOMES
from hostile.page import PAGE, render, without_figures
from hostile.table import KINDS, nodes_of, rows

COUNTS = {"H": 17, "W": 16, "P": 20, "B": 19, "R": 8}


def test_no_row_is_left_out() -> None:
    wanted = [f"{kind}{number}" for kind, count in COUNTS.items() for number in range(1, count + 1)]
    assert list(rows()) == wanted
    assert COUNTS.keys() == KINDS.keys()


def test_every_test_that_a_row_names_is_there_and_the_page_is_made_of_them(pytestconfig: pytest.Config) -> None:
    outcomes = pytestconfig.stash[OUTCOMES]
    tests = [test for row in rows().values() for test in row.tests]
    present = {nodeid.removeprefix("tests/").partition("::")[0] for nodeid in outcomes.collected}
    missing = [test for test in tests if not nodes_of(test, outcomes.collected)]
    assert [test for test in missing if test.file in present] == [], "the table names tests that there are not"
    if missing:
        pytest.skip(f"this run has not collected {', '.join(sorted({test.file for test in missing}))}")
    page = render(outcomes.collected, {}, {})
    assert without_figures(page) == without_figures(PAGE.read_text()), "docs/hostile.md is stale: run `make docs`"


@pytest.mark.parametrize("row", [row for row in rows().values() if row.mib is not None], ids=lambda row: row.id)
def test_what_has_a_bound_is_measured(row: object) -> None:
    from hostile.test_memory import BROKER_KINDS, KINDS

    assert row.id in KINDS or row.id in BROKER_KINDS  # type: ignore[attr-defined]
