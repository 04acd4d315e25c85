"""docs/compatibility.md says what the tests of this run found. The one that compares them runs last."""

from __future__ import annotations

import pytest

from compatibility.crossws import CROSSWS
from compatibility.effects import EFFECTS
from compatibility.page import PAGE, members, render, titles_of
from compatibility.results import CAPABILITIES, RESULTS, TESTS

ROWS = {member for rows in members().values() for member in rows}


def test_the_page_says_what_this_run_found(pytestconfig: pytest.Config) -> None:
    columns = pytestconfig.stash[RESULTS].columns
    page = PAGE.read_text()
    missing = titles_of(page) - {title for title, column in columns.items() if column.is_complete}
    if missing:
        pytest.skip(f"no complete results of {', '.join(sorted(missing))} in this run")
    incomplete = [title for title, column in columns.items() if not column.is_complete]
    assert not incomplete, "a server without complete results is on no page"
    assert render(columns) == page, "docs/compatibility.md is stale: run `make docs`"


@pytest.mark.parametrize("member", sorted(ROWS))
def test_every_row_has_a_test(member: str) -> None:
    assert any(member in covered for covered in TESTS.values()), f"no test of the contract covers {member}"


def test_every_test_says_what_it_covers() -> None:
    assert [name for name, covered in TESTS.items() if not covered] == []
    assert set().union(*TESTS.values()) <= ROWS


def test_every_capability_is_explained() -> None:
    assert list(EFFECTS) == CAPABILITIES
    for effect in EFFECTS.values():
        assert {*effect.no, *effect.partly} <= ROWS


def test_crossws_is_compared_by_members_that_there_are() -> None:
    assert CROSSWS.keys() <= ROWS
