"""Row H3 of the hostile inputs: by which name a server may be reached."""

from __future__ import annotations

from typing import Any

import pytest

from crosspeer import Request
from crosspeer.core.hosts import HOSTS_KEY, LOOPBACK, HostNames, host_check

MINE = [
    "localhost",
    "localhost:3000",
    "LOCALHOST:3000",
    "localhost.",
    "chat.localhost:3000",
    "a.b.localhost",
    "127.0.0.1",
    "127.0.0.1:3000",
    "127.255.0.9:80",
    "[::1]",
    "[::1]:3000",
    "[0:0:0:0:0:0:0:1]:3000",
]
OTHERS = [
    "evil.example",
    "evil.example:3000",
    "localhost.evil.example",
    "evillocalhost",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    # What browsers and C libraries take for 127.0.0.1 never stands in a header like that: they write it out.
    "127.1",
    "2130706433",
    "0x7f000001",
    "127.0.0.01",
    # Reaches this machine on Linux, and is no name of it.
    "0.0.0.0:3000",
    "[::ffff:127.0.0.1]",
    "192.0.2.1",
    "testserver",
    "",
    ".",
    ":3000",
    "[::1",
    "::1",
    "[]",
    "localhost:port",
    "localhost:1:2",
    "localhost:999999",
    "localhost,evil.example",
    "user@localhost",
    "localhost/",
    "local host",
    "löcalhost",
    "a" * 300 + ".localhost",
]


@pytest.mark.parametrize("host", MINE)
def test_names_of_this_machine(host: str) -> None:
    assert LOOPBACK.include(host)


@pytest.mark.parametrize("host", OTHERS)
def test_names_of_other_machines(host: str) -> None:
    assert not LOOPBACK.include(host)
    assert LOOPBACK.include("localhost")
    assert not LOOPBACK.include(host), "whatever came before"


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com:8443", True),
        ("EXAMPLE.com", "example.com.", True),
        ("example.com", "www.example.com", False),
        ("example.com", "localhost", False),
        (["example.com", "*.example.org"], "a.b.example.org", True),
        (["*.example.org"], "example.org", False),
        (["*.example.org"], "evilexample.org", False),
        (["testserver"], "testserver", True),
        (["192.0.2.0/24"], "192.0.2.7:80", True),
        (["192.0.2.0/24"], "192.0.3.7:80", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["[2001:db8::1]", "2001:db8:1::/48"], "[2001:DB8::1]:443", True),
        (["[2001:db8::1]", "2001:db8:1::/48"], "[2001:db8:1::5]", True),
        (["[2001:db8::1]"], "192.0.2.1", False),
        ("*", "anything at all", True),
        (["example.com", "*"], "", True),
        ([], "localhost", False),
    ],
)
def test_names_that_are_listed(hosts: Any, host: str, allowed: bool) -> None:
    assert HostNames(hosts).include(host) is allowed


@pytest.mark.parametrize(
    "wrong",
    [
        "example.com:80",
        "https://example.com",
        "example.com/",
        "*.*.com",
        "*example.com",
        "",
        ".",
        "a..b",
        "127.0.0.1/8",
    ],
)
def test_what_is_no_host_cannot_be_listed(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        HostNames([wrong])


@pytest.mark.parametrize(
    ("listed", "served", "hosts", "allowed"),
    [
        # Neither the hub nor its server says anything.
        (None, (), ["evil.example"], True),
        (None, (), [], True),
        # The server does.
        (None, (LOOPBACK,), ["localhost:3000"], True),
        (None, (LOOPBACK,), ["evil.example"], False),
        (None, (LOOPBACK, HostNames("*")), ["evil.example"], True),
        # The hub does, or both.
        ("example.com", (), ["example.com"], True),
        ("example.com", (), ["localhost"], False),
        ("example.com", (LOOPBACK,), ["example.com"], True),
        ("example.com", (LOOPBACK,), ["localhost"], True),
        ("example.com", (LOOPBACK,), ["evil.example"], False),
        ("*", (LOOPBACK,), ["evil.example"], True),
        # There has to be one.
        (None, (LOOPBACK,), [], False),
        (None, (LOOPBACK,), ["localhost", "localhost"], False),
    ],
)
def test_the_hub_and_its_server_say_it_together(listed: Any, served: Any, hosts: list[str], allowed: bool) -> None:
    headers = [(b"host", host.encode("latin-1")) for host in hosts]
    scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": headers, HOSTS_KEY: served}
    assert host_check(listed)(Request(scope)) is allowed
