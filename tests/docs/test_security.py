"""docs/security.md names every bound with its default."""

from __future__ import annotations

from dataclasses import fields

import pytest

from crosspeer import SSE, Limits
from crosspeer.peerjs.client.options import PeerLimits
from pages import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()


def shown(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("bounds", [Limits(), SSE(), PeerLimits()], ids=lambda bounds: type(bounds).__name__)
def test_every_default_is_on_the_page(bounds: object) -> None:
    for field in fields(bounds):  # type: ignore[arg-type]
        value = getattr(bounds, field.name)
        if not isinstance(value, bool):
            assert f"| `{field.name}` | {shown(value)} |" in PAGE, f"{field.name} is {shown(value)}"
