"""How much a client may make the broker keep and do. Honest clients meet none of these bounds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLimits:
    """Bounds of a broker. Sizes are bytes, times are seconds, rates are for each second unless they say otherwise.

    Raises:
        ValueError: a bound is zero, negative or no number.
    """

    max_message_size: int = 64 * KIB
    """Largest frame of a client. A larger one closes its connection with 1009."""
    max_token_length: int = 4 * KIB
    """Characters of a token: enough for a signed one."""
    max_clients_per_address: int | None = None
    """Registered ids of one address. None: no bound, since a whole school may come from one."""

    waiting_per_peer: int = 64
    """Messages that wait for one absent peer. One more is answered with EXPIRE at once, as for the next two bounds."""
    waiting_per_sender: int = 1 * MIB
    """Memory for the waiting messages of one sender."""
    waiting_total: int = 16 * MIB
    """Memory for all that wait."""

    relay_rate: float = 50
    """Messages that one client may send to others, in the long run. One more is answered with ERROR."""
    relay_burst: int = 500
    """The same at once: a browser sends some ten candidates with an offer, and a mesh many offers."""
    strangers_per_minute: float = 20
    """Peers that a client may address with whom it has exchanged nothing in the last `contact_time`."""
    strangers_burst: int = 60
    contact_time: float = 60.0
    """How long an exchange counts: only then LEAVE and EXPIRE are relayed."""
    other_rate: float = 30
    """Frames that are relayed to nobody, heartbeats above all. One more closes the connection with 1008."""
    other_burst: int = 60
    refused_messages: int = 10
    """Messages of one connection that are answered with ERROR. One more closes it with 4502."""

    failures_per_id: float = 5
    """Wrong tokens for one id in a minute. Beyond, no token is looked at, and the code is 4004 instead of 4504."""
    failures_per_address: float = 20
    """Wrong keys and refused tokens of one address in a minute. Beyond, none is looked at (4004)."""
    requests_per_address: float = 50
    """HTTP requests of one address. One more is answered with 429."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "max_clients_per_address":
                continue
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
                raise ValueError(f"{field.name} is a positive number, not {value!r}")
