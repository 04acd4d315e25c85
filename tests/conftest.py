"""What all tests share: contract tests of foreign servers run in the server's process, and results are kept."""

from __future__ import annotations

from collections.abc import Generator

import pytest

import profiles  # noqa: F401 (it registers and loads them)
from compatibility.results import RESULTS, Results
from hosted.process import run_in_process
from hostile.outcomes import OUTCOMES, Outcomes


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()
    config.stash[OUTCOMES] = Outcomes()


def pytest_itemcollected(item: pytest.Item) -> None:
    item.config.stash[OUTCOMES].collect(item.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # It looks at what all the others found.
    items.sort(key=lambda item: item.name == "test_the_page_says_what_this_run_found")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    return run_in_process(pyfuncitem) or None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.config.stash[RESULTS].note(item, report)
    item.config.stash[OUTCOMES].note(report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[RESULTS].save()
    session.config.stash[OUTCOMES].save()
