"""Every Python example of the README and of docs/ runs, and every path and link they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages import FENCE, PAGES, ROOT, example, named, run


@pytest.mark.parametrize("page", [page for page in PAGES if FENCE.search(page.read_text())], ids=named)
async def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with example(page, tmp_path, monkeypatch) as module:
        await run(page, module, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        assert not link or (page.parent / link).exists(), f"{named(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_paths_that_a_page_names_exist(page: Path) -> None:
    for path in re.findall(r"`((?:src|tests|docs|examples|scripts|bench)/[\w./\[\]-]*)`", page.read_text()):
        assert (ROOT / path).exists(), f"{named(page)} names {path}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    for path, test in re.findall(r"`((?:src|tests)/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert re.search(rf"def {test}\(", (ROOT / path).read_text()), f"{named(page)} names {path}::{test}"
