"""Short-lived credentials for a TURN server that shares a secret with us, as coturn's `use-auth-secret` checks them.

The form is that of draft-uberti-behave-turn-rest-00: the name says until when it is good, the password proves that we
have said so.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_LIFETIME: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Turn:
    """A TURN server and the secret that it shares with us.

    Raises:
        ValueError: no secret, no URLs, one that is not of TURN, or a lifetime out of range.
    """

    secret: str = field(repr=False)
    """coturn's `static-auth-secret`."""
    urls: Iterable[str]
    """Where it is, as `turn:turn.example.com:3478?transport=udp`; the browser tries all of them."""
    _: KW_ONLY
    lifetime: int = 600
    """Seconds in which an allocation may be made with one. One that was made may be kept."""
    now: Callable[[], float] = time.time
    """The wall clock, which the TURN server compares with its own."""

    def __post_init__(self) -> None:
        urls = [self.urls] if isinstance(self.urls, str) else list(self.urls)
        object.__setattr__(self, "urls", urls)
        if not self.secret:
            raise ValueError("the secret that the TURN server shares with us must not be empty")
        if not urls:
            raise ValueError("give the URLs of the TURN server")
        for url in urls:
            if not url.startswith(("turn:", "turns:", "stun:", "stuns:")):
                raise ValueError(f"{url!r} is no URL of a TURN server: write turn:host:port")
        if not 1 <= self.lifetime <= MAX_LIFETIME:
            raise ValueError(f"lifetime is a number of seconds from 1 to {MAX_LIFETIME}, not {self.lifetime!r}")

    def credentials(self, id: str = "") -> dict[str, object]:
        """Make credentials, for a peer with this id. The result is one of the `iceServers` of a browser."""
        expires = int(self.now()) + self.lifetime
        username = f"{expires}:{id}" if id else str(expires)
        return {
            "urls": list(self.urls),
            "username": username,
            "credential": password(self.secret, username),
            "ttl": self.lifetime,
        }


def password(secret: str, username: str) -> str:
    """The password that belongs to a name: base64 of its HMAC with SHA-1."""
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
