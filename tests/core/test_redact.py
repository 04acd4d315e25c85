"""Row H17 of the hostile inputs: what a log says of a URL."""

from __future__ import annotations

import pytest

from crosspeer.core.redact import redact

HIDDEN = [
    "token",
    "access_token",
    "id_token",
    "refresh-token",
    "authtoken",
    "accessToken",
    "TOKEN",
    "csrf_token",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "key",
    "api_key",
    "apikey",
    "api-key",
    "apiKey",
    "access_key",
    "AWSAccessKey",
    "secret",
    "client_secret",
    "password",
    "passwd",
    "passwort",
    "pass",
    "pwd",
    "auth",
    "authorization",
    "x-auth",
    "jwt",
    "signature",
    "sig",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "connect.sid",
    "ticket",
    "otp",
    "user[password]",
    "%74oken",
    "access%5Ftoken",
    "api+key",
]
SHOWN = [
    "room",
    "id",
    "page",
    "author",
    "side",
    "compass",
    "passage",
    "sign",
    "next",
    "state",
    "version",
    "q",
    "signal",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_a_secret_is_hidden(name: str) -> None:
    assert redact(f"/chat?{name}=abc123") == f"/chat?{name}=[redacted]"
    assert redact(f"/chat?a=b&{name}=abc123&c=d") == f"/chat?a=b&{name}=[redacted]&c=d"


@pytest.mark.parametrize("name", SHOWN)
def test_everything_else_is_shown(name: str) -> None:
    assert redact(f"/chat?{name}=abc123&x=1") == f"/chat?{name}=abc123&x=1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("/", "/"),
        ("/token=abc", "/token=abc"),
        ("/?token", "/?token"),
        ("/?token=", "/?token=[redacted]"),
        ("/?token=a=b==", "/?token=[redacted]"),
        ("/?token=a;b?c#d", "/?token=[redacted]"),
        ("/?token=a&token=b", "/?token=[redacted]&token=[redacted]"),
        ("/?token=a&room=1;key=b", "/?token=[redacted]&room=1;key=[redacted]"),
        ("/?next=/login?token=a", "/?next=/login?token=[redacted]"),
        ("https://h/cb#access_token=a&state=b", "https://h/cb#access_token=[redacted]&state=b"),
        ("wss://h:1/x?key=a&id=b&token=c", "wss://h:1/x?key=[redacted]&id=b&token=[redacted]"),
        ('"GET /?token=a HTTP/1.1" 200', '"GET /?token=[redacted] HTTP/1.1" 200'),
        ("cannot reach ws://h/?key=a: refused", "cannot reach ws://h/?key=[redacted] refused"),
        ("1 + 1 = 2; token = 3", "1 + 1 = 2; token = 3"),
        ("/?%zz=1&%=2&=3&&", "/?%zz=1&%=2&=3&&"),
        ("/?tok\u212aen=1&\udcfftoken=2", "/?tok\u212aen=1&\udcfftoken=[redacted]"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert redact(text) == shown
