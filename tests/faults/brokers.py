"""The backplanes of the fault tests: real ones that keep their data over a restart, reached over TCP, so by a proxy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import backplanes
from backplanes import Broker, find

BROKERS: Final[dict[str, Callable[[], AbstractAsyncContextManager[Broker]]]] = {
    "redis": backplanes.redis,
    "nats": backplanes.nats,
    "postgres": lambda: backplanes.postgres(tcp=True),
    "local": backplanes.local,
}
LOGS: Final = ("redis", "nats", "local")
"""Those that keep logs for all nodes. With another one each node keeps the history of topics for itself."""
HOLES: Final = ("nats",)
"""Those that number the messages of all topics together."""
NEEDS: Final = {
    "redis": ("redis-server", "redis-server"),
    "nats": ("nats-server", "nats-server"),
    "postgres": ("initdb", "postgresql"),
}
"""The program of each, and Debian's package of it."""


def missing(name: str) -> str | None:
    """What to say where a backplane is not installed."""
    program, package = NEEDS.get(name, ("", ""))
    return f"{program} is not installed here: apt-get install {package}" if program and find(program) is None else None
