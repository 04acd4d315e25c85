"""The pages of the documentation, and their Python examples as the module that a reader would make of them."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import crosspeer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE: Final = re.compile(r"^```python(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    """The path of a page, as tests are called."""
    return str(page.relative_to(ROOT))


def served(target: Any, **options: Any) -> None:
    """What stands in for `serve` in an example: the server is made, and not run until a signal comes."""
    options["port"] = 0
    crosspeer.Server(target, **options)


@contextmanager
def example(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A module for the examples of a page to run in; a folder is the current one, and gets their files."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(crosspeer, "serve", served, raising=False)
    # Not `__main__`: what is under that condition would serve until a signal comes.
    module = types.ModuleType("example")
    # Where dataclasses and msgspec look names up.
    monkeypatch.setitem(sys.modules, "example", module)
    try:
        yield module
    finally:
        for value in vars(module).values():
            if hasattr(value, "unregister_app") and not isinstance(value, type):
                # Sanic has one application of a name in a process.
                value.unregister_app(value)


async def run(page: Path, module: types.ModuleType, folder: Path) -> None:
    """Run all examples of a page, one after the other. Those with `file=` are written to that file, as one."""
    text = page.read_text()
    for fence in FENCE.finditer(text):
        code = fence["code"]
        if file := re.search(r"file=(\S+)", fence["info"]):
            path = folder / file[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as written:
                written.write(code)
            continue
        tree = ast.increment_lineno(ast.parse(code), text[: fence.start()].count("\n") + 1)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        result = eval(compile(tree, str(page), "exec", flags=flags), module.__dict__)
        if inspect.isawaitable(result):
            await result
