"""The arguments of a parametrised test, named so that they need not travel: by their places in the test's marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from _pytest.mark import ParameterSet


def chosen(test: Callable[..., Any], arguments: Mapping[str, Any]) -> list[int]:
    """Where the arguments that pytest has for a test stand: one number for each `parametrize`."""
    return [
        next(number for number, values in enumerate(sets) if all(arguments[name] is values[name] for name in values))
        for sets in _sets(test)
    ]


def parameters(test: Callable[..., Any], choice: list[int]) -> dict[str, Any]:
    """The arguments themselves, in whatever process."""
    found: dict[str, Any] = {}
    for sets, number in zip(_sets(test), choice, strict=True):
        found |= sets[number]
    return found


def _sets(test: Callable[..., Any]) -> Iterator[list[dict[str, Any]]]:
    """The sets of arguments of each `parametrize` of a test."""
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            names = mark.args[0].replace(",", " ").split() if isinstance(mark.args[0], str) else list(mark.args[0])
            yield [dict(zip(names, _values(entry, len(names)), strict=True)) for entry in mark.args[1]]


def _values(entry: Any, count: int) -> tuple[Any, ...]:
    if isinstance(entry, ParameterSet):
        return tuple(entry.values)
    return tuple(entry) if count > 1 else (entry,)
