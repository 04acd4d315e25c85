#!/usr/bin/env python3
"""Measure what a backplane costs a node, on real Redis, NATS and PostgreSQL, and write BACKPLANE.md. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from harness import machine
from harness.errors import Failure
from harness.measure import Plan, measure
from harness.paths import BENCH, ROOT, SERVERS
from harness.processes import Process, cpu_seconds, free_port, running, wait_until_listening
from harness.servers import Server
from harness.setup import build_load
from harness.workloads import Workload

sys.path.append(str(ROOT / "tests"))  # the servers that the tests start, and their crowd

import backplanes
from crowd import Client, Crowd, descriptors, text

PAGE = BENCH / "BACKPLANE.md"
BACKENDS = ("local", "redis", "nats", "postgres")
ALONE = "no backend"
FEW, SUBSCRIBERS = 10, 1000
BURSTS = (1, 64)
COMMAND = [sys.executable, str(SERVERS / "backplane_node.py")]
TO_SETTLE = 0.3
"""Seconds until the subscription of a node holds at the backplane."""

PUBLISHING = tuple(
    Workload(
        f"{burst}/{subscribers}",
        f"{burst} at once, {subscribers} subscribers",
        ("publish", "--burst", str(burst), "--subscribers", str(subscribers)),
        units,
        "CPU time",
    )
    for burst, subscribers, units in (
        (1, SUBSCRIBERS, 200),
        (64, SUBSCRIBERS, 60),
        (1, FEW, 5000),
        (64, FEW, 3000),
    )
)

Figures = dict[tuple[str, ...], list[float]]


class Bench:
    """All figures, by what was measured."""

    def __init__(self, quick: bool) -> None:
        self._plan = Plan(warm_up=0.1, cut_to=0.2) if quick else Plan(warm_up=0.3, cut_to=0.6)
        self._seconds = self._plan.cut_to
        cores = sorted(os.sched_getaffinity(0))
        self._core, self._other = cores[0], cores[-1]
        self.figures: Figures = {}

    def round(self, name: str, sync: str) -> None:
        """Measure everything with one backend; without one what it is compared to."""
        environment = {"SYNC": sync}
        server = Server(name, name, lambda: COMMAND, environment)
        for workload in PUBLISHING:
            sample = measure(server, workload, self._plan)
            publications = sample.units * int(workload.name.partition("/")[0])
            self._note("publish", name, workload.name, sample.figure * sample.messages / publications)
        if name == ALONE:
            self._workers(name, environment, [SUBSCRIBERS])
            return
        self._remote(name, environment)
        if name == "local":
            self._workers(name, environment, [SUBSCRIBERS // 2] * 2)

    def _remote(self, name: str, environment: dict[str, str]) -> None:
        """One node publishes, another delivers."""
        with (
            self._node(environment, self._other) as (_, publisher),
            self._node(environment, self._core) as (node, port),
            _crowd(port, FEW) as few,
        ):
            for burst in BURSTS:
                used, _ = self._bursts(publisher, [few], burst, lambda: cpu_seconds(node.pid))
                self._note("arrival", name, str(burst), used * FEW)
            with _crowd(port, SUBSCRIBERS - FEW) as others:
                for burst in BURSTS:
                    used, rate = self._bursts(publisher, [few, others], burst, lambda: cpu_seconds(node.pid))
                    self._note("remote", name, str(burst), used)
                    self._note("rate", name, str(burst), rate)

    def _workers(self, name: str, environment: dict[str, str], crowds: list[int]) -> None:
        """What so many workers take together, for deliveries to their own and from each other."""
        with ExitStack() as stack:
            nodes = [stack.enter_context(self._node(environment, self._core)) for _ in crowds]
            heard = [stack.enter_context(_crowd(port, count)) for (_, port), count in zip(nodes, crowds, strict=True)]
            for burst in BURSTS:
                used, _ = self._bursts(
                    nodes[0][1], heard, burst, lambda: sum(cpu_seconds(node.pid) for node, _ in nodes)
                )
                self._note("workers", str(len(crowds)), str(burst), used)

    def _bursts(
        self, publisher: int, crowds: list[Crowd], burst: int, clock: Callable[[], float]
    ) -> tuple[float, float]:
        """Bursts for a while: seconds of CPU a delivery, and deliveries a second."""
        expected = b"".join(text(f"publication {number:04}") for number in range(burst))
        speaker = Client(("127.0.0.1", publisher), "/burst").opened()
        try:
            time.sleep(TO_SETTLE)
            for seconds in (self._seconds / 2, self._seconds):
                before, begin, count = clock(), time.monotonic(), 0
                while time.monotonic() - begin < seconds:
                    speaker.say(str(burst))
                    for crowd in crowds:
                        crowd.hear(expected)
                    count += burst * sum(len(crowd.clients) for crowd in crowds)
                used, took = clock() - before, time.monotonic() - begin
        except (AssertionError, OSError) as error:
            raise Failure(f"the crowd did not hear what was published: {error}") from None
        finally:
            speaker.close()
        return used / count, count / took

    @contextmanager
    def _node(self, environment: dict[str, str], core: int) -> Iterator[tuple[Process, int]]:
        port = free_port()
        with running(COMMAND, core, environment | {"PORT": str(port)}) as process:
            wait_until_listening(process, port)
            yield process, port

    def _note(self, *what: str | float) -> None:
        *names, figure = what
        key = tuple(map(str, names))
        self.figures.setdefault(key, []).append(float(figure))
        said = f"{figure:,.0f}/s" if key[0] == "rate" else f"{float(figure) * 1e6:.2f} us"
        print(f"  {' '.join(key)}: {said}", file=sys.stderr, flush=True)


@contextmanager
def _crowd(port: int, count: int) -> Iterator[Crowd]:
    crowd = Crowd(("127.0.0.1", port), "/room", count)
    try:
        yield crowd
    finally:
        crowd.close()


async def _measure(bench: Bench, backends: list[str], runs: int) -> None:
    """Every backend once in each round, so that what disturbs the machine disturbs all."""
    cores = os.sched_getaffinity(0)
    for turn in range(1, runs + 1):
        for name in (ALONE, *backends):
            print(f"round {turn} of {runs}: {name}", file=sys.stderr, flush=True)
            if name == ALONE:
                bench.round(name, "")
                continue
            # A server of a backplane is started where the load is, and away from the node.
            os.sched_setaffinity(0, {max(cores)})
            async with backplanes.BROKERS[name]() as broker:
                os.sched_setaffinity(0, cores)
                bench.round(name, broker.url)


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(arguments.quick)
    try:
        build_load()
        state = machine.checkout_state()
        with descriptors(2 * SUBSCRIBERS):
            asyncio.run(_measure(bench, arguments.backends, arguments.runs))
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    page = _page(bench.figures, arguments, machine.checkout_state() == state)
    print(page)
    if arguments.write:
        PAGE.write_text(page)
        print(f"bench: wrote {PAGE.name}", file=sys.stderr)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", help="names with commas between (default: all that are installed)")
    parser.add_argument("--runs", type=int, default=5, help="rounds, of which medians are taken (default: 5)")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that all works")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)} too")
    arguments = parser.parse_args()
    programs = {"redis": "redis-server", "nats": "nats-server", "postgres": "initdb"}
    installed = [name for name in BACKENDS if name not in programs or backplanes.find(programs[name])]
    arguments.backends = arguments.backends.split(",") if arguments.backends else installed
    if unknown := set(arguments.backends) - set(installed):
        parser.error(f"not known or not installed: {', '.join(sorted(unknown))}")
    return arguments


# The page.


def _page(figures: Figures, arguments: argparse.Namespace, unchanged: bool) -> str:
    facts = [fact for fact in machine.describe() if fact[0] in ("date", "machine", "system", "crosspeer", "CPython")]
    facts.append(("clients", _versions()))
    if not unchanged:
        facts.append(("attention", "crosspeer was changed during the runs; its figures are of more than one version"))
    listed = "\n".join(f"- {name}: {value}" for name, value in facts)
    runs = f"{arguments.runs}{' quick' if arguments.quick else ''} {'run' if arguments.runs == 1 else 'runs'}"
    backends = arguments.backends
    parts = [
        f"""# Backplanes

Written by `bench/backplane.py`; what the figures mean is in [README.md](README.md). Medians of {runs}.

{listed}

## Publishing, with nobody elsewhere

CPU time of the node for each publication, its local deliveries included, and times what it takes without a backend.""",
        _publishing(figures, [ALONE, *backends]),
        f"""## Deliveries of what another node has published

CPU time of the node for each delivery to one of its {SUBSCRIBERS:,} subscribers, and how many a second that makes on
one core. What was reached in the runs is bounded by the load, the other node and the backplane, which share the other
core. The last two columns are for each publication that reaches {FEW} subscribers: nearly all of it is its arrival.""",
        _remote(figures, backends),
    ]
    if "local" in backends:
        parts += [
            f"""## Workers

CPU time of all workers together for each delivery to {SUBSCRIBERS:,} subscribers of one topic, one publication reaching
all of them. Two workers deliver as many times more than one as this makes of two cores.""",
            _workers(figures),
        ]
    return "\n\n".join([*parts, _spread(figures)]) + "\n"


def _publishing(figures: Figures, names: list[str]) -> str:
    rows = []
    for name in names:
        cells = []
        for workload in PUBLISHING:
            used = median(figures["publish", name, workload.name])
            times = used / median(figures["publish", ALONE, workload.name])
            cells.append(_micro(used) if name == ALONE else f"{_micro(used)} ({times:.2f})")
        rows.append([name, *cells])
    return _markdown(["", *(workload.title for workload in PUBLISHING)], rows)


def _remote(figures: Figures, backends: list[str]) -> str:
    rows = []
    for name in backends:
        cells = []
        for burst in BURSTS:
            used = median(figures["remote", name, str(burst)])
            cells += [_micro(used), f"{1 / used:,.0f}", f"{median(figures['rate', name, str(burst)]):,.0f}"]
        cells += [_micro(median(figures["arrival", name, str(burst)])) for burst in BURSTS]
        rows.append([name, *cells])
    heads = [head for burst in BURSTS for head in (f"{burst} at once", "a second, one core", "reached")]
    heads += [f"to {FEW}, {burst} at once" for burst in BURSTS]
    return _markdown(["", *heads], rows)


def _workers(figures: Figures) -> str:
    one, two = ([median(figures["workers", count, str(burst)]) for burst in BURSTS] for count in ("1", "2"))
    rows = [
        ["one worker", *map(_micro, one)],
        ["two workers", *map(_micro, two)],
        ["deliveries of two cores, times those of one", *(f"{2 * a / b:.2f}" for a, b in zip(one, two, strict=True))],
    ]
    return _markdown(["", *(f"{burst} at once" for burst in BURSTS)], rows)


def _spread(figures: Figures) -> str:
    rows = [
        [
            *key[:1],
            " ".join(key[1:]),
            _micro(median(found)),
            f"{_micro(min(found))} - {_micro(max(found))}",
            str(len(found)),
        ]
        for key, found in sorted(figures.items())
        if key[0] != "rate"
    ]
    return "## Runs\n\n" + _markdown(["what", "of", "median", "min - max", "runs"], rows)


def _micro(seconds: float) -> str:
    microseconds = seconds * 1e6
    return f"{microseconds:,.0f} us" if microseconds >= 100 else f"{microseconds:.3g} us"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _versions() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("redis", "nats-py", "asyncpg"))


if __name__ == "__main__":
    sys.exit(main())
