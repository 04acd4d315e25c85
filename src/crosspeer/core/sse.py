"""How a hub serves peers that come by `EventSource`: server-sent events one way, POSTs the other."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

KIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SSE:
    """The bounds of a peer's event stream. Sizes are bytes, times are seconds.

    Raises:
        ValueError: a bound is negative or no number.
    """

    resume: float = 15.0
    """How long a peer whose connection is gone waits for its client to come back and miss nothing. `close` runs only
    when that time is over. 0: it does not wait, and whoever comes back is a new peer."""

    window_messages: int = 1000
    """Messages that are kept for it, the latest. A client that missed more starts afresh, and is told so."""

    window_size: int = 256 * KIB
    """Bytes of them. Messages of a publication are shared by all peers that it went to."""

    keep_alive: float = 15.0
    """Longest silence of a stream: then a comment is sent, so that no proxy takes it for dead. 0: none."""

    retry: float = 1.0
    """What a browser is told to wait before it comes back."""

    crossws: bool = False
    """Speak to the letter as crossws does, for clients written for it: binary messages as data URIs, and each piece of
    a POST without a length as a message of its own. A proxy that merges or splits the pieces changes the messages."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "crossws":
                continue
            wanted = int if field.name.startswith("window_") else (int, float)
            if not isinstance(value, wanted) or isinstance(value, bool) or not 0 <= value < float("inf"):
                raise ValueError(f"{field.name} is a number that is not negative, not {value!r}")


SSELike = SSE | bool
"""True: with the default bounds. False: no peers by `EventSource`."""


def as_sse(value: SSELike) -> SSE | None:
    """Take the settings in any of their forms.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, SSE):
        return value
    if isinstance(value, bool):
        return SSE() if value else None
    raise TypeError(f"sse is an SSE, True or False, not {type(value).__name__}")
