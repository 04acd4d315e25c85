"""Whom a proxy may connect to. A target that follows from what a client sent is an attack until it is listed.

The name is resolved once, here, and what was looked at is what is connected to: an answer that changes a moment later
(DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from crosspeer.core.errors import CrosspeerError
from crosspeer.core.hosts import HostNames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crosspeer.upstream.address import Address

Place = tuple[socket.AddressFamily, Any]
"""What a socket connects to."""


class TargetRefused(CrosspeerError, ValueError):
    """This upstream is none that the proxy may connect to. The message says what would allow it."""


class Allow:
    """The rule of one proxy.

    Args:
        listed: names, patterns, networks (`HostNames`) and the paths of Unix sockets; None: nothing is listed.
        trusting: the target is the operator's own. Without a list it may be anything; one of a function's may be no
            more than a public address then.

    Raises:
        ValueError: an entry is none of these.
    """

    def __init__(self, listed: str | Iterable[str] | None, *, trusting: bool) -> None:
        entries = [listed] if isinstance(listed, str) else list(listed or ())
        self._paths = frozenset(entry for entry in entries if entry.startswith("/"))
        self._names = HostNames([entry for entry in entries if not entry.startswith("/")])
        self._all = listed is None and trusting
        self._public = listed is None
        self._trusting = trusting

    async def places(self, address: Address) -> list[Place]:
        """Where to connect to, in the order to try.

        Raises:
            OSError: the name cannot be resolved.
            TargetRefused: none of its addresses is allowed.
        """
        if address.credentials is not None and not self._trusting:
            raise TargetRefused("a target that is found for a peer has no user and password: use headers=")
        if address.path is not None:
            if self._all or address.path in self._paths:
                return [(socket.AF_UNIX, address.path)]
            raise TargetRefused("this Unix socket is not in allow=")
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        by_name = self._all or self._names.include(f"[{address.host}]" if ":" in address.host else address.host)
        places: list[Place] = [
            (family, place) for family, _, _, _, place in found if by_name or self._includes(str(place[0]))
        ]
        if not places:
            raise TargetRefused("the target's address is not public, and not in allow=")
        return places

    def _includes(self, text: str) -> bool:
        found = ip_address(text)
        if self._public and is_public(found):
            return True
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return self._names.include(str(mapped or found) if mapped or found.version == 4 else f"[{found}]")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the open Internet's, and stands for no other one that is not."""
    if not address.is_global or address.is_reserved or address.is_multicast:
        return False
    if isinstance(address, IPv4Address):
        return True
    return not address.is_site_local and (address.sixtofour is None or is_public(address.sixtofour))
