"""Many nodes, one hub: what is published on one is delivered on all."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from crosspeer.sync.memory import MemoryBackend
from crosspeer.sync.port import Backend
from crosspeer.sync.relay import Counts, Relay

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEY_VARIABLE", "Backend", "Counts", "Relay", "connect", "open_backend"]

KEY_VARIABLE: Final = "CROSSPEER_SYNC_KEY"
"""The environment variable with the key of the fleet, where the program names none."""

# A client library is imported when its backend is asked for.
_BACKENDS = {
    "redis": ("crosspeer.sync.redis", "RedisBackend"),
    "rediss": ("crosspeer.sync.redis", "RedisBackend"),
    "unix": ("crosspeer.sync.redis", "RedisBackend"),
    "redis+sentinel": ("crosspeer.sync.redis", "RedisBackend"),
    "redis+cluster": ("crosspeer.sync.redis_cluster", "RedisClusterBackend"),
    "rediss+cluster": ("crosspeer.sync.redis_cluster", "RedisClusterBackend"),
    "nats": ("crosspeer.sync.nats", "NatsBackend"),
    "tls": ("crosspeer.sync.nats", "NatsBackend"),
    "postgres": ("crosspeer.sync.postgres", "PostgresBackend"),
    "postgresql": ("crosspeer.sync.postgres", "PostgresBackend"),
}


def connect(
    url: str, *, prefix: str = "crosspeer", crossws: str | None = None, key: str | bytes | None = None
) -> Relay:
    """A sync for `Hub(sync=...)` over the backend that a URL names. It connects when the hub needs it.

    Args:
        url: `redis://`, `nats://`, `postgres://`, `local:///path.sock` for the workers of one machine, or `memory://`.
        prefix: names the fleet: hubs with another one on the same server hear nothing of each other.
        crossws: the channel of a fleet that crossws nodes are part of.
        key: a secret that all nodes of the fleet have, by default that of the environment in `CROSSPEER_SYNC_KEY`. What
            is not sealed with it is refused.

    Raises:
        ValueError: nothing is known by that scheme, or the key is too short.
        MissingExtra: its client library is not installed.
    """
    if key is None and crossws is None:
        key = os.environ.get(KEY_VARIABLE) or None
    secret = key.encode() if isinstance(key, str) else key
    return Relay(open_backend(url), prefix=prefix, crossws=crossws, key=secret)


def open_backend(url: str) -> Backend:
    """The backend that a URL names, not connected yet.

    Raises:
        ValueError, MissingExtra: see `connect`.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryBackend(parts.netloc)
    if parts.scheme == "local":
        if not parts.path.strip("/"):
            raise ValueError("local:// takes the path of a socket: local:///run/chat.sock")
        from crosspeer.sync.local import LocalBackend

        return LocalBackend(parts.path)
    if parts.scheme not in _BACKENDS:
        known = ", ".join(sorted({*_BACKENDS, "local", "memory"}))
        raise ValueError(f"no backend is known by {parts.scheme or url!r}: choose one of {known}")
    module, name = _BACKENDS[parts.scheme]
    make: Callable[[str], Backend] = getattr(import_module(module), name)
    return make(url)
