"""What a broker is told about itself."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.broker.limits import BrokerLimits

if TYPE_CHECKING:
    from crosspeer.core.origins import Origins
    from crosspeer.core.request import Request
    from crosspeer.peerjs.broker.cors import Cors
    from crosspeer.peerjs.broker.turn import Turn

Authenticate = Callable[["Request", str, str], bool | Awaitable[bool]]
"""May this request open a connection with this id and token?"""
Authorize = Callable[[str, str, str], bool | Awaitable[bool]]
"""May this id send that id a message of this type?"""
GenerateId = Callable[[], str | Awaitable[str]]

MAX_SECONDS: Final = 24 * 3600.0
"""Whoever gives a longer time has most likely meant milliseconds."""


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """See `PeerServer`.

    Raises:
        ValueError: a time is not positive or longer than a day, the limit is not positive, or the key is empty.
    """

    path: str = "/"
    key: str = "peerjs"
    expire_timeout: float = 5.0
    alive_timeout: float = 90.0
    cleanup_out_msgs: float = 1.0
    concurrent_limit: int = 5000
    allow_discovery: bool = False
    proxied: bool = False
    cors: Cors = None
    origins: Origins = "*"
    generate_client_id: GenerateId = new_id
    authenticate: Authenticate | None = None
    authorize: Authorize | None = None
    turn: Turn | None = None
    limits: BrokerLimits = field(default_factory=BrokerLimits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", normal_path(self.path))
        for name in ("expire_timeout", "alive_timeout", "cleanup_out_msgs"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= MAX_SECONDS:
                raise ValueError(f"{name} is a number of seconds up to a day, not {value!r}")
        if self.concurrent_limit < 1:
            raise ValueError(f"concurrent_limit is a positive number, not {self.concurrent_limit!r}")
        if not self.key:
            raise ValueError("the key must not be empty: clients send `peerjs` where they are told nothing else")


def normal_path(path: str) -> str:
    """A path with a slash at both ends and single ones between: `/`, `/myapp/`."""
    parts = [part for part in path.split("/") if part]
    return f"/{'/'.join(parts)}/" if parts else "/"
