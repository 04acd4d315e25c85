"""What a target says, and what may go on with a handshake or a close frame."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from crosspeer.upstream.address import Address, address_of
from crosspeer.upstream.allow import is_public
from crosspeer.upstream.headers import code_for_peer, code_for_upstream, forwarded, shortened


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("ws://example.com", Address(False, "example.com", 80, "/")),
        ("WS://EXAMPLE.com:8080/Path", Address(False, "example.com", 8080, "/Path")),
        ("wss://example.com?x=1", Address(True, "example.com", 443, "/?x=1")),
        ("wss://[2001:db8::1]:8443/a", Address(True, "2001:db8::1", 8443, "/a")),
        ("ws://h/%2e%2E/ü?q=ü&r=%C3%BC", Address(False, "h", 80, "/%2e%2E/%C3%BC?q=%C3%BC&r=%C3%BC")),
        ("ws://bücher.example/", Address(False, "xn--bcher-kva.example", 80, "/")),
        ("ws://ada:p%40ss@h/", Address(False, "h", 80, "/", credentials=("ada", "p%40ss"))),
        ("ws://ada@h/", Address(False, "h", 80, "/", credentials=("ada", ""))),
        ("ws+unix:///run/app.sock", Address(False, "localhost", 80, "/", path="/run/app.sock")),
        ("ws+unix:///run/app.sock:/a:b?c", Address(False, "localhost", 80, "/a:b?c", path="/run/app.sock")),
    ],
)
def test_targets(target: str, address: Address) -> None:
    assert address_of(target) == address


@pytest.mark.parametrize(
    ("target", "url", "text"),
    [
        ("ws://ada:secret@example.com:80/x", "ws://example.com/x", "ws://example.com/x"),
        ("wss://[::1]:8443/", "wss://[::1]:8443/", "wss://[::1]:8443/"),
        ("ws+unix:///run/app.sock:/x?y", "ws://localhost/x?y", "ws+unix:///run/app.sock:/x?y"),
    ],
)
def test_an_address_prints_without_secrets_and_can_be_read_again(target: str, url: str, text: str) -> None:
    address = address_of(target)
    assert (address.url, str(address)) == (url, text)
    assert address_of(text).url == url


def test_an_error_does_not_repeat_a_target() -> None:
    with pytest.raises(ValueError, match="target") as raised:
        address_of("http://ada:secret@example.com/token")
    assert "secret" not in str(raised.value)
    assert "token" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d70e", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::1", False),
        ("2001:0:7f00:1::", False),
        ("2001:db8::1", False),
        ("fe80::1", False),
        ("fe80::1%lo", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        (None, []),
        ({"Cookie": "a=1", "Origin": "https://x"}, [("cookie", "a=1"), ("origin", "https://x")]),
        ([("set", "1"), ("set", "2")], [("set", "1"), ("set", "2")]),
        ([("Connection", "keep-alive, X-Hop"), ("x-hop", "1"), ("x-end", "2"), ("Keep-Alive", "5")], [("x-end", "2")]),
        ([("Connection", "a"), ("connection", " B ,c"), ("A", "1"), ("b", "2"), ("C", "3"), ("d", "4")], [("d", "4")]),
    ],
)
def test_headers_of_the_hop_are_not_forwarded(headers: Any, kept: list[tuple[str, str]]) -> None:
    assert forwarded(headers) == kept


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Content-Length",
        "Host",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ],
)
def test_these_headers_are_never_forwarded(name: str) -> None:
    assert forwarded({name: "x", name.upper(): "y", "x-other": "z"}) == [("x-other", "z")]


@pytest.mark.parametrize("name", ["", "a b", "a\r\nb", "a:b", "ü"])
def test_what_is_no_name_of_a_header_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        forwarded({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "\x00", "κ"])
def test_a_value_that_would_break_its_line_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        forwarded({"x-name": value})


@pytest.mark.parametrize(
    ("code", "to_peer", "to_upstream"),
    [
        (1000, 1000, 1000),
        (1001, 1001, 1001),
        (1004, 1011, 1001),
        (1005, 1000, None),
        (1006, 1011, 1001),
        (1011, 1011, 1011),
        (1014, 1014, 1014),
        (1015, 1011, 1001),
        (2999, 1011, 1001),
        (3000, 3000, 3000),
        (4999, 4999, 4999),
        (5000, 1011, 1001),
    ],
)
def test_codes(code: int, to_peer: int, to_upstream: int | None) -> None:
    assert code_for_peer(code) == to_peer
    assert code_for_upstream(code) == to_upstream


@pytest.mark.parametrize(
    ("reason", "sent"), [("", ""), ("bye", "bye"), ("x" * 124, "x" * 123), ("ü" * 62, "ü" * 61), ("🎉" * 31, "🎉" * 30)]
)
def test_a_reason_is_cut_between_characters(reason: str, sent: str) -> None:
    assert shortened(reason) == sent
