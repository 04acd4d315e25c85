"""What belongs together in one table: servers that do the same, and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.paths import BENCH, RESULTS
from harness.servers import BROKERS, BUN, FLOOR, PEER, SERVERS_UNDER_TEST, Server
from harness.workloads import BROKER_WORKLOADS, WORKLOADS, Workload


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
}
