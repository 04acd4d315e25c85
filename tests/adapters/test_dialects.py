"""Servers that are not known, and frameworks in between, get what ASGI itself promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crosspeer.adapters.dialects import DAPHNE, DENIAL, GRANIAN, GUNICORN, HYPERCORN, PLAIN, UVICORN, dialect_of

UNDENIED = replace(PLAIN, denial_status=False, denial_response=False)


@pytest.mark.parametrize(
    "scope",
    [
        {"asgi": {"spec_version": "9.9"}, "extensions": {DENIAL: {}}},
        {"asgi": {}, "extensions": {DENIAL: {}}},
        {"extensions": {DENIAL: {}}},
    ],
)
def test_an_unknown_server_can_what_its_extensions_say(scope: dict[str, Any]) -> None:
    assert dialect_of(scope).capabilities == PLAIN


@pytest.mark.parametrize(
    "scope",
    [{}, {"extensions": {}}, {"asgi": {"spec_version": "9.9"}}, {"asgi": {"spec_version": "2.4"}, "extensions": {}}],
)
def test_an_unknown_server_without_the_extension_refuses_with_403(scope: dict[str, Any]) -> None:
    assert dialect_of(scope).capabilities == UNDENIED


def test_no_dialect_can_more_than_asgi_has_words_for() -> None:
    for dialect in (UVICORN, HYPERCORN, GUNICORN, GRANIAN, DAPHNE):
        assert not dialect.capabilities.ping
        assert not dialect.capabilities.terminate
