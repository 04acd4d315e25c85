"""The command line of the fault tests: `python tests/faults/fleet.py`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from crowd import descriptors
from faults.brokers import BROKERS, missing
from faults.checker import GRACE
from faults.rig import Outcome, Plan, fleet, judge
from faults.scenarios import SCENARIOS, fits

SLACK: Final = 150.0
"""Seconds that starting, ending and checking a run may take beside its own."""
SHOWN: Final = 10
"""Violations that are printed of a run; the others are in its files."""
HEAD: Final = ("backend", "fault", "published", "deliveries", "returned", "99 % within", "recovered", "told", "result")


async def run(plan: Plan, scenario: str, folder: Path) -> Outcome:
    """One fault in one fleet, and what came of it."""
    async with asyncio.timeout(plan.seconds + SLACK), fleet(plan) as made:
        await SCENARIOS[scenario](made)
        await made.whole()
        # What is published now has to reach everybody.
        await asyncio.sleep(GRACE + 0.5)
        await made.quiet()
        return await judge(made, folder)


def main() -> int:
    options = _options()
    failed = False
    print(_line(HEAD))
    print(_line(["---"] * len(HEAD)))
    for plan, scenario in _runs(options):
        print(f"{plan.backend}, {scenario} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                with descriptors(plan.clients):
                    outcome = asyncio.run(run(plan, scenario, Path(folder)))
            except (AssertionError, TimeoutError, OSError) as error:
                print(_line([plan.backend, scenario, *["-"] * 6, f"failed: {str(error) or type(error).__name__}"]))
                print(*getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
                failed = True
                continue
            print(_line(_row(plan, scenario, outcome)), flush=True)
            if outcome.violations:
                failed = True
                _keep(plan, scenario, outcome, Path(folder), options.keep)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Three nodes, many clients and one fault at a time, checked delivery by delivery."
    )
    parser.add_argument("--backend", choices=[*BROKERS, "all"], default="all")
    parser.add_argument("--fault", choices=[*SCENARIOS, "all"], default="all")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run, with some for its start and end")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--publishers", type=int, default=30, help="how many of them publish")
    parser.add_argument("--rate", type=float, default=2.0, help="publications a second, of each publisher")
    parser.add_argument("--seed", type=int, default=1, help="of whatever is chosen at random")
    parser.add_argument("--no-history", action="store_true", help="topics without history only")
    parser.add_argument("--engine", default="auto", help="of the nodes")
    parser.add_argument(
        "--keep", type=Path, default=Path("build/faults"), help="where the history of a failed run goes"
    )
    return parser.parse_args()


def _runs(options: argparse.Namespace) -> Iterator[tuple[Plan, str]]:
    for backend in BROKERS if options.backend == "all" else [options.backend]:
        if (reason := missing(backend)) is not None:
            print(f"{backend} is left out: {reason}", file=sys.stderr)
            continue
        for scenario in SCENARIOS if options.fault == "all" else [options.fault]:
            if fits(scenario, backend):
                yield (
                    Plan(
                        backend,
                        clients=options.clients,
                        seconds=options.seconds,
                        seed=options.seed,
                        engine=options.engine,
                        history=not options.no_history,
                        publishers=options.publishers,
                        rate=options.rate,
                    ),
                    scenario,
                )


def _row(plan: Plan, scenario: str, outcome: Outcome) -> list[str]:
    back = "-" if outcome.back is None else f"{outcome.back:.2f} s"
    result = "ok" if not outcome.violations else f"{len(outcome.violations)} violations"
    counts = [outcome.published, outcome.deliveries, len(outcome.returns)]
    return [
        *(plan.backend, scenario),
        *(f"{count:,}" for count in counts),
        back,
        *(f"{outcome.recovered:,}", f"{outcome.tellings:,}", result),
    ]


def _keep(plan: Plan, scenario: str, outcome: Outcome, folder: Path, kept: Path) -> None:
    """Print what was wrong, and keep the history of the run."""
    target = kept / f"{plan.backend}-{scenario}-{plan.seed}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    lines = [str(violation) for violation in outcome.violations]
    (target / "violations.txt").write_text("\n".join([str(plan), *lines, ""]))
    for line in lines[:SHOWN]:
        print(f"    {line}")
    print(f"    all {len(lines)} and the whole history: {target}")


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
