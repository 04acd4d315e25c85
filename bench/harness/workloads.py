"""What is measured. The load generator knows how; here is how much of it, and what the figure means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal["cpu", "memory"]


@dataclass(frozen=True, slots=True)
class Workload:
    """A column of the tables."""

    name: str
    title: str
    arguments: tuple[str, ...]
    """The load generator's subcommand and its options."""
    units: int
    """How much a fast server does in a run; slower ones do less, unless `whole`."""
    figure: str
    """What the figure is."""
    measure: Measure = "cpu"
    whole: bool = False
    """Always all units, however long it takes."""
    servers: frozenset[str] | None = None
    """Who can do it, by their names. None: everybody."""


WORKLOADS = (
    Workload("chat", "chat", ("chat",), 200, "CPU time a delivery"),
    Workload("echo", "echo, 1 in flight", ("echo", "--inflight", "1"), 50, "CPU time an echo"),
    Workload("echo32", "echo, 32 in flight", ("echo", "--inflight", "32"), 1000, "CPU time an echo"),
    Workload("publish", "publish 1", ("publish", "--burst", "1"), 400, "CPU time a delivery"),
    Workload("publish64", "publish 64", ("publish", "--burst", "64"), 250, "CPU time a delivery"),
    Workload("connect", "connect", ("connect",), 100, "CPU time a connection"),
    Workload("idle", "idle", ("idle",), 8, "memory a connection", "memory", whole=True),
)

BROKER_WORKLOADS = (
    Workload("relay", "relay, 64 in flight", ("relay", "--inflight", "64"), 200, "CPU time an offer"),
    Workload("relay1", "relay, 1 in flight", ("relay", "--inflight", "1"), 200, "CPU time an offer"),
    Workload("register", "connect", ("register",), 100, "CPU time a client"),
    Workload("registered", "registered, idle", ("registered",), 9, "memory a client", "memory", whole=True),
    Workload("heartbeat", "heartbeat", ("heartbeat",), 4, "CPU time a heartbeat", whole=True),
)


_LARGEST = (1 << 20) - 64
"""A mebibyte is what most servers take at most; a little is left for what they count beside the payload."""


def _size(number: int) -> str:
    if number >= _LARGEST:
        return "1 MiB"
    return f"{number >> 10} KiB" if number >= 1 << 10 else f"{number} B"


PEERS = tuple(
    Workload(
        f"peers{number}", f"{number:,}", ("publish", "--burst", "16", "--subscribers", str(number)),
        max(50, 100_000 // number), "CPU time a delivery",
    )
    for number in (10, 100, 1000, 10_000)
)  # fmt: skip
_HAVE_TOPICS = frozenset({"crosspeer-native", "crosspeer-python", "crossws-bun", "crossws-node"})
TOPICS = tuple(
    Workload(
        f"topics{number}", f"{number:,}", ("topics", "--topics", str(number)),
        200, "CPU time a message", servers=_HAVE_TOPICS,
    )
    for number in (1, 10, 100, 1000, 10_000, 100_000)
)  # fmt: skip
SIZES = tuple(
    Workload(f"size{number}", _size(number), ("sized", "--size", str(number)), 200, "CPU time an echo")
    for number in (16, 128, 1 << 10, 1 << 13, 1 << 16, 1 << 18, _LARGEST)
)
