"""Rows H1 and H2 of the hostile inputs: who may connect from a web page."""

from __future__ import annotations

from typing import Any

import pytest

from crosspeer import Request
from crosspeer.core.origins import origin_check


def request(host: str | list[str], origin: str | list[str] | None) -> Request:
    def lines(name: bytes, value: Any) -> list[tuple[bytes, bytes]]:
        values = [value] if isinstance(value, str) else value or []
        return [(name, text.encode("latin-1")) for text in values]

    headers = [*lines(b"host", host), *lines(b"origin", origin)]
    return Request({"type": "websocket", "path": "/", "query_string": b"", "headers": headers})


@pytest.mark.parametrize(
    ("host", "origin", "origins", "allowed"),
    [
        # No browser, no Origin.
        ("good.example", None, None, True),
        # Same origin, with and without default ports, behind a proxy that ended the TLS.
        ("good.example", "http://good.example", None, True),
        ("good.example", "https://good.example", None, True),
        ("good.example:443", "https://good.example", None, True),
        ("good.example:80", "http://good.example", None, True),
        ("GOOD.example", "http://good.EXAMPLE", None, True),
        ("127.0.0.1:3000", "http://127.0.0.1:3000", None, True),
        ("[::1]:3000", "http://[::1]:3000", None, True),
        # Another port or host is another origin.
        ("127.0.0.1:3000", "http://127.0.0.1:4000", None, False),
        ("127.0.0.1:3000", "http://localhost:3000", None, False),
        ("good.example", "https://evil.example", None, False),
        # Confusions.
        ("good.example", "https://good.example.evil.com", None, False),
        ("good.example", "https://evilgood.example", None, False),
        ("good.example", "null", None, False),
        ("good.example", "", None, False),
        ("good.example", "https://good.example@evil.com", None, False),
        ("good.example", "https://user@good.example", None, False),
        ("good.example", "https://good.example/path", None, False),
        ("good.example", "https://good.example:99999", None, False),
        ("good.example", "https://[good.example", None, False),
        ("good.example", ["https://good.example", "https://good.example"], None, False),
        (["good.example", "evil.example"], "https://evil.example", None, False),
        # An allowed list is matched exactly, in normal form.
        ("api.example", "https://good.example", ["https://good.example"], True),
        ("api.example", "HTTPS://GOOD.EXAMPLE:443", ["https://good.example"], True),
        ("api.example", "http://good.example", ["https://good.example"], False),
        ("api.example", "https://good.example:8443", ["https://good.example"], False),
        ("api.example", "https://sub.good.example", ["https://good.example"], False),
        ("api.example", "https://api.example", ["https://good.example"], True),
        ("api.example", "https://good.example", "https://good.example", True),
        # Any.
        ("api.example", "https://evil.example", "*", True),
        ("api.example", "null", ["*"], True),
    ],
)
def test_origins(host: Any, origin: Any, origins: Any, allowed: bool) -> None:
    assert origin_check(origins)(request(host, origin)) is allowed


@pytest.mark.parametrize("wrong", ["good.example", "https://good.example/path", "https://", "//good.example"])
def test_what_is_no_origin_cannot_be_allowed(wrong: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        origin_check([wrong])
