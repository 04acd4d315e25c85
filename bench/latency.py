#!/usr/bin/env python3
"""Measure how long an echo takes while servers are half busy and nearly full, and write LATENCY.md. See README.md."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import dataclass, field
from statistics import median

from harness import machine, plot
from harness.errors import Failure
from harness.measure import Plan, Sample, measure
from harness.paths import BENCH, PLOTS
from harness.report import markdown
from harness.servers import SERVERS_UNDER_TEST, Server
from harness.setup import prepare
from harness.workloads import Workload

PAGE = BENCH / "LATENCY.md"
SERVERS = ("floor", "crosspeer-native", "crosspeer-python", "crossws-bun", "ws-node", "picows", "websockets", "uvicorn")
FULL = Workload("echo", "echo", ("echo", "--inflight", "1"), 50, "CPU time an echo")
CAPACITY_PLAN, PLAN = Plan(warm_up=0.5, cut_to=1.0), Plan(warm_up=0.5, cut_to=3.0)
SHARES = ((0.5, "at 50 % of its capacity"), (0.8, "at 80 % of its capacity"))
SAME_RATE = 20_000
"""Echoes a second that all of them can do."""
SHOWN = (("50 %", 2), ("90 %", 10), ("99 %", 100), ("99.9 %", 1000))
"""Shares of the echoes, and where they stand on the axis: one echo of so many takes longer."""


@dataclass(slots=True)
class Found:
    """Of one server."""

    server: Server
    capacity: float = 0.0
    """Echoes a second."""
    runs: dict[str, list[Sample]] = field(default_factory=dict)
    failure: str = ""

    def latency(self, load: str) -> list[float] | None:
        """Medians over the runs, share by share."""
        known = [sample.latency for sample in self.runs.get(load, ()) if sample.latency]
        return [median(column) for column in zip(*known, strict=True)] if known else None


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if not sys.platform.startswith("linux"):
            raise Failure("the bench reads /proc and pins processes to cores: it runs on Linux only")
        prepare()
        facts = machine.describe()
        found = [Found(server) for server in SERVERS_UNDER_TEST if server.name in arguments.servers.split(",")]
        for turn in range(1, arguments.runs + 1):
            for each in found:
                _measure(each, f"round {turn} of {arguments.runs}")
        page = _page(found, facts, arguments.runs)
        print(page)
        if arguments.write:
            PLOTS.mkdir(exist_ok=True)
            plot.run([_drawing(found)])
            PAGE.write_text(page)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


def _measure(found: Found, turn: str) -> None:
    """One round of a server: what it can do, once, and then less than that."""
    if found.failure:
        return
    try:
        if not found.capacity:
            sample = measure(found.server, FULL, CAPACITY_PLAN)
            found.capacity = sample.messages / sample.seconds
        loads = [(title, found.capacity * share) for share, title in SHARES] + [(_same(), SAME_RATE)]
        for title, rate in loads:
            print(
                f"{turn}: {found.server.title}, {title}, {rate:,.0f} a second ...", file=sys.stderr, end=" ", flush=True
            )
            workload = Workload("latency", "latency", ("latency", "--rate", str(round(rate))), 30, "latency")
            sample = measure(found.server, workload, PLAN)
            found.runs.setdefault(title, []).append(sample)
            print(_times(sample.latency), file=sys.stderr)
    except Failure as failure:
        found.failure = str(failure)
        print(failure, file=sys.stderr)


def _same() -> str:
    return f"at {SAME_RATE:,} a second"


def _page(found: list[Found], facts: list[tuple[str, str]], runs: int) -> str:
    listed = "\n".join(f"- {name}: {value}" for name, value in facts)
    sections = "\n\n".join(f"## Latency {title}\n\n{_table(found, title)}" for _, title in [*SHARES, (0, _same())])
    failures = "".join(f"\n- {each.server.title}: {each.failure}" for each in found if each.failure)
    rounds = f"{runs} {'run' if runs == 1 else 'runs'}"
    return f"""# Latency under load

Written by `bench/latency.py`; what the figures mean is in [README.md](README.md). Medians of {rounds}.

{listed}

How long a text of 16 characters takes to come back while 64 clients send as many as the table says, evenly spread
over time. A text is sent when it is due, whether or not earlier ones have come back, and its time runs from when it was
due. Capacity is what the server echoes with one core when each of 64 clients has one text in flight.

![Latency at 80 % of capacity](plots/latency.svg)

{sections}
{failures}"""


def _table(found: list[Found], load: str) -> str:
    rows = []
    for each in found:
        if latency := each.latency(load):
            sample = each.runs[load][-1]
            busy = median(run.server_busy for run in each.runs[load])
            rate = f"{sample.messages / sample.seconds:,.0f}"
            rows.append((each.server.title, rate, f"{busy:.0%}", *(_time(seconds) for seconds in latency)))
    head = ("", "echoes a second", "server busy", *(f"p{name.removesuffix(' %')}" for name, _ in SHOWN), "longest")
    return markdown(head, rows)


def _drawing(found: list[Found]) -> dict[str, object]:
    load = SHARES[-1][1]
    lines = [
        {
            "label": each.server.title,
            "points": [(at, seconds) for (_, at), seconds in zip(SHOWN, latency, strict=False)],
        }
        for each in found
        if (latency := each.latency(load))
    ]
    return {
        "path": str(PLOTS / "latency.svg"), "title": "Latency at 80 % of capacity", "x": "share of the echoes",
        "y": "time to the echo", "labels": {at: name for name, at in SHOWN}, "lines": lines,
    }  # fmt: skip


def _times(latency: tuple[float, ...] | None) -> str:
    return ", ".join(_time(seconds) for seconds in latency or ())


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default=",".join(SERVERS), help="names with commas between")
    parser.add_argument("--runs", type=int, default=5, help="rounds, of which medians are taken (default: 5)")
    parser.add_argument("--write", action="store_true", help="write the page and its drawing too")
    arguments = parser.parse_args()
    known = {server.name for server in SERVERS_UNDER_TEST}
    if unknown := set(arguments.servers.split(",")) - known:
        parser.error(f"unknown servers: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    if arguments.runs < 1:
        parser.error("--runs is at least 1")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
