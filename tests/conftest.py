"""What all tests share: contract tests of foreign servers run in the server's process, and results are kept."""

from __future__ import annotations

import logging
import signal
from collections.abc import Generator, Iterator

import pytest

import profiles  # noqa: F401 (it registers and loads them)
from compatibility.results import RESULTS, Results
from crosspeer.server.logs import PatientHandler
from hosted.process import run_in_process
from hostile.outcomes import OUTCOMES, Outcomes


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As under `nohup` and in the background of a script. Programs that are started here would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[RESULTS] = Results()
    config.stash[OUTCOMES] = Outcomes()


def pytest_itemcollected(item: pytest.Item) -> None:
    item.config.stash[OUTCOMES].collect(item.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # It looks at what all the others found.
    items.sort(key=lambda item: item.name == "test_the_page_says_what_this_run_found")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what the command line does to the logs of its process, which is that of all tests here."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    levels = root.level, uvicorn.level
    yield
    for handler in [handler for handler in root.handlers if isinstance(handler, PatientHandler)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(levels[0])
    uvicorn.setLevel(levels[1])


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
