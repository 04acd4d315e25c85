"""Which names a server answers to: the Host check against DNS rebinding.

A web page may have its own name point at 127.0.0.1 after it was loaded. To the browser it then is of the same origin as
whatever listens there, so the Origin check lets it in; only the Host header tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from crosspeer.core.request import Request

Hosts = str | Iterable[str] | None
"""None: whatever the server says. "*": any. Else names as `example.com`, `*.example.com` or `192.0.2.0/24`."""

HOSTS_KEY: Final = "crosspeer.hosts"
"""Where the ASGI scope carries the names that its server answers to beside those of the hub, as `ServedHosts`."""

_NAME: Final = re.compile(r"(?:\*\.)?[0-9a-z_-]+(?:\.[0-9a-z_-]+)*\Z")
_HEADER: Final = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([0-9a-z_.-]{1,254}))(?::[0-9]{0,5})?\Z")
"""RFC 9110 section 7.2, for hosts that are names or addresses."""


def _network(host: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _required(host: str) -> str:
    name = host.lower()
    if not _NAME.match(name):
        raise ValueError(f"{host!r} is no host: write example.com, *.example.com or 192.0.2.0/24, without a port")
    return name


class HostNames:
    """Names, patterns and networks.

    Raises:
        ValueError: one is none of them, for instance because it has a port.
    """

    __slots__ = ("_latest", "_names", "_networks", "_suffixes", "is_any")

    def __init__(self, hosts: str | Iterable[str]) -> None:
        listed = [hosts] if isinstance(hosts, str) else list(hosts)
        self.is_any: Final = "*" in listed
        networks = {host: _network(host) for host in listed if host != "*"}
        names = [_required(host) for host, network in networks.items() if network is None]
        self._networks = [network for network in networks.values() if network is not None]
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*"))
        self._names = frozenset(name for name in names if not name.startswith("*"))
        self._latest = ""

    def include(self, header: str) -> bool:
        """Whether the value of a Host header names one of them, with any port."""
        if self.is_any or header == self._latest:
            return True
        if self._find(header.lower()):
            # Most clients say the same, and an address takes some time to read.
            self._latest = header
            return True
        return False

    def _find(self, header: str) -> bool:
        found = _HEADER.match(header)
        if found is None:
            return False
        name = (found[1] or found[2]).removesuffix(".")
        if name in self._names or (self._suffixes and name.endswith(self._suffixes)):
            return True
        # The last part of a name is never a number (RFC 3696 section 2).
        return (found[1] is not None or name[-1:].isdigit()) and self._has_address(name)

    def _has_address(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


ServedHosts = tuple[HostNames, ...]

LOOPBACK: Final = HostNames(("localhost", "*.localhost", "127.0.0.0/8", "::1"))
"""What a browser calls its own machine: names that nobody can have point there (RFC 6761 section 6.3)."""


def host_check(hosts: Hosts) -> Callable[[Request], bool]:
    """Make the function that says whether a handshake's Host is allowed: by this list, or by its server's.

    Where neither says anything, any is.

    Raises:
        ValueError: see `HostNames`.
    """
    own: ServedHosts = () if hosts is None else (HostNames(hosts),)

    def check(request: Request) -> bool:
        served: ServedHosts = request.scope.get(HOSTS_KEY, ())
        known = own + served
        if not known or any(names.is_any for names in known):
            return True
        sent = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"host"]
        return len(sent) == 1 and any(names.include(sent[0]) for names in known)

    return check
