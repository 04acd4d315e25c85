"""What an adapter says where its server is not installed: the line that installs it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from crosspeer import CrosspeerError, MissingExtra, adapters

SERVERS = ["aiohttp", "picows", "sanic", "tornado", "websockets"]


class Without:
    """A finder by which a package is not installed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def forget(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As in a process that has not imported it yet."""
    for name in list(sys.modules):
        if name == f"crosspeer.adapters.{package}" or name.partition(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("server", SERVERS)
def test_a_missing_server_is_named_with_the_line_that_installs_it(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, server)
    monkeypatch.setattr(sys, "meta_path", [Without(server), *sys.meta_path])
    with pytest.raises(MissingExtra, match=rf"pip install 'crosspeer\[{server}\]'") as missing:
        importlib.import_module(f"crosspeer.adapters.{server}")
    assert isinstance(missing.value, ModuleNotFoundError)
    assert isinstance(missing.value, CrosspeerError)
    assert missing.value.name == server


def test_what_a_server_misses_itself_is_not_taken_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "aiohttp")
    forget(monkeypatch, "yarl")
    monkeypatch.setattr(sys, "meta_path", [Without("yarl"), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError) as missing:
        importlib.import_module("crosspeer.adapters.aiohttp")
    assert missing.value.name == "yarl"
    assert not isinstance(missing.value, MissingExtra)


def test_every_adapter_with_an_extra_is_in_the_table() -> None:
    sources = Path(adapters.__file__).parent.glob("*.py")
    assert {path.stem for path in sources if "with extra(" in path.read_text()} == set(SERVERS)
