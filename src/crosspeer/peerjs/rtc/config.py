"""The `config` of a peer, as PeerJS hands it to RTCPeerConnection, read once and checked for every engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_CONFIG: Final = {"iceServers": [{"urls": "stun:stun.l.google.com:19302"}]}
"""What the documentation of PeerJS names. (Its code has two TURN servers beside it, whose names are gone.)"""

_URL: Final = re.compile(r"(stuns?|turns?):[^\s/]+")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class IceConfig:
    """What an engine needs to know to find a way to the other side."""

    servers: tuple[IceServer, ...] = ()
    relay_only: bool = False
    """Only ways over a TURN server: nobody learns this machine's addresses."""


def read_config(config: Mapping[str, Any] | None) -> IceConfig:
    """Read the keys of RTCConfiguration that matter here; others are ignored, as browsers do.

    `iceServers` may have PeerJS 0.3's `url` in place of `urls`. Without a config it is `DEFAULT_CONFIG`; an empty list
    of servers is right where all peers share a network.

    Raises:
        ValueError: a server has no sound URL, or a TURN server no credentials.
    """
    if config is None:
        config = DEFAULT_CONFIG
    policy = config.get("iceTransportPolicy", "all")
    if policy not in ("all", "relay"):
        raise ValueError(f"iceTransportPolicy is 'all' or 'relay', not {policy!r}")
    servers = config.get("iceServers") or ()
    if not isinstance(servers, Sequence) or not all(isinstance(server, Mapping) for server in servers):
        raise ValueError("iceServers is a list of dicts")
    return IceConfig(tuple(_server(server) for server in servers), policy == "relay")


def _server(server: Mapping[str, Any]) -> IceServer:
    urls = server.get("urls", server.get("url"))
    urls = (urls,) if isinstance(urls, str) else tuple(urls or ())
    for url in urls:
        if not isinstance(url, str) or _URL.fullmatch(url) is None:
            raise ValueError(f"{url!r} is no STUN or TURN URL, such as 'stun:stun.example.org:3478'")
    if not urls:
        raise ValueError("an ICE server has no urls")
    username, credential = server.get("username"), server.get("credential")
    if not (username and credential) and any(url.startswith("turn") for url in urls):
        raise ValueError(f"the TURN server {urls[0]} needs a username and a credential")
    return IceServer(urls, username, credential)
