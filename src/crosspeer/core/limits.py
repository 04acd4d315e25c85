"""Every bound that a peer, a connection or a server is held to, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

Overflow = Literal["close", "drop_oldest", "drop_newest"]
"""What happens to a peer whose outgoing queue is full: it is closed with 1013, or messages are dropped."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a hub. Sizes are bytes, times are seconds.

    Raises:
        ValueError: a bound is zero, negative or no number, or `overflow` is no known policy.
    """

    max_message_size: int = 1 * MIB
    """Largest incoming message, counted after inflation. A larger one closes its peer with 1009."""

    max_waiting_messages: int = 16
    """Incoming messages that wait for a slow hook. When they are reached the peer is not read further."""

    max_queue_size: int = 1 * MIB
    """Outgoing bytes that wait for a slow reader. A message larger than this passes only an empty queue."""

    overflow: Overflow = "close"
    """What a full outgoing queue means: `close` with 1013, `drop_oldest` or `drop_newest`."""

    max_topics: int = 128
    """Topics of one peer. One more raises `LimitExceeded` in the hook that subscribes."""

    max_topic_length: int = 255
    """Bytes of a topic's name in UTF-8."""

    max_connections: int | None = 65_536
    """Peers of one server, handshakes included. One more is refused with 503. None: no bound."""

    max_memory: int | None = None
    """Resident bytes of the process (read on Linux). Above them new peers are refused with 503, and our own server
    closes those with the longest queues with 1013. None: no bound."""

    handshake_timeout: float = 10.0
    """From the accepted connection to the complete request, and again for `resolve` and `upgrade`."""

    ping_interval: float | None = 20.0
    """From one heartbeat ping to the next. None: no pings."""

    ping_timeout: float = 10.0
    """Time for the pong. A peer that misses it is gone: 1006, not clean."""

    close_timeout: float = 5.0
    """Time for the other side to answer a close frame, and for the queue before it to leave."""

    def __post_init__(self) -> None:
        if self.overflow not in ("close", "drop_oldest", "drop_newest"):
            raise ValueError(f"overflow is 'close', 'drop_oldest' or 'drop_newest', not {self.overflow!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "overflow" or (value is None and field.name in _MAY_BE_NONE):
                continue
            wanted = int if field.name.startswith("max_") else (int, float)
            if not isinstance(value, wanted) or isinstance(value, bool) or not value > 0:
                raise ValueError(f"{field.name} is a positive number, not {value!r}")


_MAY_BE_NONE = ("max_connections", "max_memory", "ping_interval")
