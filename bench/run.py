#!/usr/bin/env python3
"""Measure WebSocket servers side by side and print a table. See README.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from harness import machine, plot, report
from harness.errors import Failure
from harness.measure import Plan, Sample, measure
from harness.report import Results
from harness.servers import Server
from harness.setup import prepare
from harness.suites import SUITES, Plot, Suite
from harness.workloads import Workload

Choice = TypeVar("Choice", Server, Workload)

NORMAL, QUICK = Plan(warm_up=1.0, cut_to=1.5), Plan(warm_up=0.2, cut_to=0.3, share=0.25)


def main() -> int:
    arguments = _arguments()
    suite: Suite = arguments.suite
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if not sys.platform.startswith("linux"):
            raise Failure("the bench reads /proc and pins processes to cores: it runs on Linux only")
        prepare()
        facts, state = machine.describe(), machine.checkout_state()
        results = _measure_all(arguments)
        if machine.checkout_state() != state:
            facts.append(
                ("attention", "crosspeer was changed during the runs; its figures are of more than one version")
            )
            print(f"bench: {facts[-1][1]}", file=sys.stderr)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    print(_tables(results, suite))
    if arguments.write:
        plot.draw(results, suite.plots)
        suite.page.write_text(_page(results, facts, arguments))
        print(f"bench: wrote {suite.page.name}", file=sys.stderr)
    return 0


def _measure_all(arguments: argparse.Namespace) -> Results:
    """Every server once in each round, so that what disturbs the machine disturbs all."""
    suite: Suite = arguments.suite
    results = Results(_chosen(suite.servers, arguments.servers), _chosen(suite.workloads, arguments.workloads))
    plan = QUICK if arguments.quick else NORMAL
    for turn in range(1, arguments.runs + 1):
        for workload in results.workloads:
            for server in results.servers:
                if workload.servers is not None and server.name not in workload.servers:
                    continue
                _measure_one(results, server, workload, plan, f"round {turn} of {arguments.runs}")
    return results


def _measure_one(results: Results, server: Server, workload: Workload, plan: Plan, turn: str) -> None:
    pair = (server.name, workload.name)
    if pair in results.failures:
        return
    samples = results.samples.setdefault(pair, [])
    print(f"{turn}: {workload.title}, {server.title} ...", file=sys.stderr, end=" ", flush=True)
    try:
        # The first run finds how much fits; the others do as much.
        sample = measure(server, workload, plan, samples[0].units if samples else None)
    except Failure as failure:
        results.failures[pair] = str(failure)
        print(failure, file=sys.stderr)
        return
    samples.append(sample)
    print(_said(sample, workload), file=sys.stderr)


def _said(sample: Sample, workload: Workload) -> str:
    figure = f"{sample.figure / 1024:.2f} KiB" if workload.measure == "memory" else f"{sample.figure * 1e9:.1f} ns"
    return f"{figure} ({sample.messages:,} in {sample.seconds:.2f} s)"


def _page(results: Results, facts: list[tuple[str, str]], arguments: argparse.Namespace) -> str:
    listed = "\n".join(f"- {name}: {value}" for name, value in facts)
    runs = f"{arguments.runs}{' quick' if arguments.quick else ''} {'run' if arguments.runs == 1 else 'runs'}"
    suite: Suite = arguments.suite
    return f"""# {suite.title}

Written by `bench/run.py`; what the figures mean is in [README.md](README.md). Medians of {runs}.

{listed}

{suite.explained}

{_tables(results, suite)}

## Runs

{report.details(results)}
"""


def _tables(results: Results, suite: Suite) -> str:
    if not suite.plots:
        return report.tables(results, suite.bases)
    return "\n\n".join(_section(results, suite, each) for each in suite.plots)


def _section(results: Results, suite: Suite, drawn: Plot) -> str:
    part = replace(results, workloads=[workload for _, workload in drawn.points if workload in results.workloads])
    image = f"![{drawn.title}](plots/{drawn.name}.svg)"
    return f"## {drawn.title}\n\n{drawn.explained}\n\n{image}\n\n{report.tables(part, suite.bases)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default="engines", help="what is measured (default: engines)")
    parser.add_argument("--servers", help="names with commas between (default: those of the suite)")
    parser.add_argument("--workloads", help="names with commas between (default: those of the suite)")
    parser.add_argument("--runs", type=int, help="rounds, of which medians are taken (default: 5)")
    parser.add_argument(
        "--quick", action="store_true", help="short runs, one of each by default: to see that all works"
    )
    parser.add_argument("--write", action="store_true", help="write the page of results too")
    parser.add_argument("--crosspeer-python", metavar="PATH", help="run crosspeer with this interpreter")
    arguments = parser.parse_args()
    if arguments.runs is None:
        arguments.runs = 1 if arguments.quick else 5
    if arguments.runs < 1:
        parser.error("--runs is at least 1")
    if arguments.crosspeer_python:
        os.environ["BENCH_CROSSPEER_PYTHON"] = arguments.crosspeer_python
    arguments.suite = SUITES[arguments.suite]
    for option in ("servers", "workloads"):
        known = getattr(arguments.suite, option)
        names = [each.name for each in known]
        wanted = getattr(arguments, option)
        chosen = wanted.split(",") if wanted else [each.name for each in known if getattr(each, "by_default", True)]
        if unknown := set(chosen) - set(names):
            parser.error(f"unknown {option}: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        setattr(arguments, option, chosen)
    return arguments


def _chosen(known: Iterable[Choice], names: list[str]) -> list[Choice]:
    return [each for each in known if each.name in names]


if __name__ == "__main__":
    sys.exit(main())
