"""One run: a server on one core, the load on another, and a look at the server's clock before and after."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass

from harness.errors import Failure
from harness.paths import LOAD
from harness.processes import cpu_seconds, free_port, memory_bytes, running, wait_until_listening
from harness.servers import Server
from harness.workloads import Workload

_TO_SETTLE = 1.0
"""Seconds from the last connection to a look at the memory."""
_TO_FINISH = 180.0
"""Seconds for each of warming up, running and closing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long the phases of a run are."""

    warm_up: float
    cut_to: float
    """Seconds of the measured phase, unless the work is done before."""
    share: float = 1.0
    """Of the work that must be done whole."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run found."""

    figure: float
    """Seconds of CPU time, or bytes of memory, for each message."""
    units: int
    messages: int
    seconds: float
    server_busy: float
    """Share of one core."""
    load_busy: float
    latency: tuple[float, ...] | None
    """Seconds to the echo at 50, 90, 99 and 99.9 %, and the longest; of the workload that looks at it."""


def measure(server: Server, workload: Workload, plan: Plan, units: int | None = None) -> Sample:
    """Run once; `units` is how much an earlier run has found to fit.

    Raises:
        Failure: the server or the load failed, or took too long.
    """
    port = free_port()
    first, *others = sorted(os.sched_getaffinity(0))
    read = memory_bytes if workload.measure == "memory" else cpu_seconds
    environment = {**server.environment, "PORT": str(port)}
    with running(server.command(), first, environment) as process:
        wait_until_listening(process, port)
        with running(_load(workload, plan, units, port), others[0] if others else first) as load:
            try:
                _expect(load.line(_TO_FINISH), "begin")
                _settle(workload)
                before, cpu = read(process.pid), cpu_seconds(process.pid)
                load.go_on()
                _expect(load.line(_TO_FINISH), "end")
                cpu = cpu_seconds(process.pid) - cpu
                _settle(workload)
                used = read(process.pid) - before
                load.go_on()
                report = json.loads(load.line(_TO_FINISH))
            except Failure as failure:
                gone = f"; the server ended: {process.last_words()}" if process.has_ended() else ""
                raise Failure(f"{failure}{gone}") from None
            except OSError:
                raise Failure(f"the server ended: {process.last_words()}") from None
    seconds = report["seconds"]
    return Sample(
        figure=used / report["messages"],
        units=report["units"],
        messages=report["messages"],
        seconds=seconds,
        server_busy=cpu / seconds,
        load_busy=report["load_cpu_seconds"] / seconds,
        latency=tuple(report["latency"]) if report["latency"] else None,
    )


def _load(workload: Workload, plan: Plan, units: int | None, port: int) -> list[str]:
    command = [str(LOAD), "--port", str(port), *workload.arguments]
    if workload.whole:
        return [*command, "--warm-up", "0", "--units", str(max(1, round(workload.units * plan.share)))]
    command += ["--warm-up", str(plan.warm_up), "--units", str(units or workload.units)]
    return command if units else [*command, "--cut-to", str(plan.cut_to)]


def _settle(workload: Workload) -> None:
    """Let collectors of garbage do their work before memory is read."""
    if workload.measure == "memory":
        time.sleep(_TO_SETTLE)


def _expect(line: str, mark: str) -> None:
    if line != mark:
        raise Failure(f"the load said {line!r} in place of {mark!r}")
