"""The options of a peer, and where they lead."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from crosspeer.wire.binarypack import MAX_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crosspeer.peerjs.client.serializers import Serializer
    from crosspeer.peerjs.rtc.config import IceConfig
    from crosspeer.peerjs.rtc.port import Engine

CLOUD_HOST: Final = "0.peerjs.com"
VERSION: Final = "1.5.5"
"""The PeerJS whose protocol this is; brokers are told."""
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """Bounds of a peer against the others. Sizes are bytes."""

    max_message_size: int = 64 * MIB
    """Largest incoming message, put together of its slices. A larger one is left out, with an `error`."""

    max_items: int = MAX_ITEMS
    """Items of all arrays and maps of an incoming message."""

    max_unread: int = 64 * MIB
    """Incoming messages that nobody has read yet, of one connection. Then it is closed, with an `error`: WebRTC has
    no way to hold the sender up."""

    max_unsent: int = 256 * MIB
    """Outgoing messages that wait for the network, of one connection. Only who does not await `send` gets there; a
    message larger than this passes only an empty queue."""

    max_connections: int = 1024
    """Connections of one peer. One more offer is ignored."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise ValueError(f"{name} is a positive whole number, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a peer that lost its broker waits before it tries again. Times are seconds."""

    first: float = 0.5
    factor: float = 2.0
    longest: float = 30.0
    attempts: int | None = None
    """None: as often as it takes."""

    def pause(self, attempt: int) -> float:
        """Before this attempt, 0 being the first. Up to a quarter is chance, so that many peers do not come at once."""
        pause = min(self.longest, self.first * self.factor ** min(attempt, 64))
        return pause * random.uniform(0.75, 1.0)


def new_token() -> str:
    """What proves to the broker that a peer that comes again is the same one."""
    return secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All that a peer was given, checked. Nothing secret is in its `repr`."""

    engine: Engine
    ice: IceConfig
    host: str = CLOUD_HOST
    port: int = 443
    path: str = "/"
    key: str = field(default="peerjs", repr=False)
    secure: bool | None = None
    token: str = field(default_factory=new_token, repr=False)
    ping_interval: float = 5.0
    timeout: float = 30.0
    serializers: Mapping[str, Callable[[PeerLimits], Serializer]] = field(default_factory=dict)
    limits: PeerLimits = PeerLimits()
    backoff: Backoff | None = None

    def __post_init__(self) -> None:
        if not self.host or set(self.host) & set("/?#@ "):
            raise ValueError(f"host is a name or an address, not {self.host!r}")
        if not 0 < self.port < 65536:
            raise ValueError(f"port is a number from 1 to 65535, not {self.port!r}")
        for name in ("ping_interval", "timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is a number of seconds, not {getattr(self, name)!r}")

    def http_url(self, method: str) -> str:
        """Where to ask for `id` or `peers`."""
        # What PeerJS sends too, so that no cache answers.
        query = urlencode({"ts": f"{time.time_ns() // 1_000_000}{random.random()}", "version": VERSION})
        return f"{self._base('http')}{quote(self.key, safe='')}/{method}?{query}"

    def socket_url(self, id: str) -> str:
        """Where the broker takes the signalling socket of this id."""
        query = {"key": self.key, "id": id, "token": self.token, "version": VERSION}
        return f"{self._base('ws')}peerjs?{urlencode(query, quote_via=quote)}"

    def _base(self, scheme: str) -> str:
        secure = self.secure
        if secure is None:
            # A page would take its own scheme.
            secure = self.port == 443
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = quote(f"/{self.path.strip('/')}/".replace("//", "/"))
        return f"{scheme}{'s' if secure else ''}://{host}:{self.port}{path}"
