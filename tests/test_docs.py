"""Every Python example of the README and of docs/ runs, and every path and link they name is there."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import crosspeer

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("adr/*.md"))]
FENCE = re.compile(r"^```python(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def served(target: Any, **options: Any) -> None:
    """What stands in for `serve` in an example: the server is made, and not run until a signal comes."""
    options["port"] = 0
    crosspeer.Server(target, **options)


@pytest.mark.parametrize("page", [page for page in PAGES if FENCE.search(page.read_text())], ids=named)
async def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crosspeer, "serve", served, raising=False)
    module = types.ModuleType("example")
    # Where dataclasses and msgspec look names up.
    monkeypatch.setitem(sys.modules, "example", module)
    for fence in FENCE.finditer(page.read_text()):
        code = fence["code"]
        if file := re.search(r"file=(\S+)", fence["info"]):
            path = tmp_path / file[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
            continue
        line = page.read_text()[: fence.start()].count("\n") + 1
        tree = ast.increment_lineno(ast.parse(code), line)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        result = eval(compile(tree, str(page), "exec", flags=flags), module.__dict__)
        if inspect.isawaitable(result):
            await result


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        assert not link or (page.parent / link).exists(), f"{named(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_paths_that_a_page_names_exist(page: Path) -> None:
    for path in re.findall(r"`((?:src|tests|docs|examples|scripts|bench)/[\w./\[\]-]*)`", page.read_text()):
        assert (ROOT / path).exists(), f"{named(page)} names {path}"
