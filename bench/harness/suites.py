"""What belongs together in one table: servers that do the same, and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.paths import BENCH, RESULTS
from harness.servers import BROKERS, BUN, FLOOR, PEER, SERVERS_UNDER_TEST, Server
from harness.workloads import BROKER_WORKLOADS, PEERS, SIZES, TOPICS, WORKLOADS, Workload


@dataclass(frozen=True, slots=True)
class Plot:
    """One line for each server, over workloads that differ in one number."""

    name: str
    """Of its file."""
    title: str
    axis: str
    """What the number counts."""
    points: Sequence[tuple[int, Workload]]
    explained: str


@dataclass(frozen=True, slots=True)
class Suite:
    """One page of results."""

    title: str
    page: Path
    servers: Sequence[Server]
    workloads: Sequence[Workload]
    bases: Sequence[tuple[str, str]]
    """Whose figures the others are divided by, and what the table is called then."""
    explained: str
    """What the figures of its first table are."""
    plots: Sequence[Plot] = ()
    """Its tables, where each has a drawing; else there is one table of all workloads."""


def _by_their_number(workloads: Sequence[Workload]) -> Sequence[tuple[int, Workload]]:
    """Each with its number, which is the last of its arguments."""
    return [(int(workload.arguments[-1]), workload) for workload in workloads]


_SCALED = {"floor", "crosspeer-native", "crosspeer-python", "crossws-bun", "websockets"}

SUITES = {
    "engines": Suite(
        "Results",
        RESULTS,
        SERVERS_UNDER_TEST,
        WORKLOADS,
        ((FLOOR, "Times the floor"), (BUN, "Times crossws on Bun")),
        "CPU time of the server for each message (for each connection in `connect`); memory for each connection in "
        "`idle`.",
    ),
    "broker": Suite(
        "The PeerJS broker",
        BENCH / "BROKER.md",
        BROKERS,
        BROKER_WORKLOADS,
        ((PEER, "Times npm's `peer`"),),
        "CPU time of the broker for each offer of 2 KB that it relays, for each client that comes and goes, and for "
        "each heartbeat of 10,000 registered clients, who send one every five seconds; memory for each registered "
        "client.",
    ),
    "scale": Suite(
        "Cost by scale",
        BENCH / "SCALE.md",
        [server for server in SERVERS_UNDER_TEST if server.name in _SCALED],
        (*PEERS, *TOPICS, *SIZES),
        ((BUN, "Times crossws on Bun"),),
        "CPU time of the server for each message. Lines that stay level say that what a message costs does not depend "
        "on how many others there are.",
        (
            Plot(
                "peers",
                "A message to many peers",
                "subscribers",
                _by_their_number(PEERS),
                "One client publishes 16 texts at once; each reaches that many. The figure is for each delivery.",
            ),
            Plot(
                "topics",
                "Many topics",
                "topics",
                _by_their_number(TOPICS),
                "Each text goes to another topic, which has one subscriber; up to a thousand clients share the topics "
                "among them. The figure is for each text, taken in and delivered. Servers without topics are left out.",
            ),
            Plot(
                "sizes",
                "Large messages",
                "bytes of a message",
                _by_their_number(SIZES),
                "Eight clients get back what they send, each one at a time. The figure is for each echo.",
            ),
        ),
    ),
}
