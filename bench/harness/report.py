"""The tables, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from harness.measure import Sample
from harness.servers import Server
from harness.workloads import Workload

_NONE = "-"


@dataclass(slots=True)
class Results:
    """What all runs found."""

    servers: Sequence[Server]
    workloads: Sequence[Workload]
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def median(self, server: str, workload: Workload) -> float | None:
        samples = self.samples.get((server, workload.name))
        return median(sample.figure for sample in samples) if samples else None


def tables(results: Results, bases: Sequence[tuple[str, str]]) -> str:
    """The figures, their ratios to some servers, and why what is missing is missing."""
    parts = [_table(results, lambda server, workload: _figure(results, server.name, workload))]
    for name, title in bases:
        if any(results.median(name, workload) is not None for workload in results.workloads):
            parts += [f"{title}:", _table(results, _ratio_to(results, name))]
    if notes := _notes(results):
        parts.append(notes)
    return "\n\n".join(parts)


def details(results: Results) -> str:
    """How far the runs lay apart, and how busy both ends were."""
    head = (
        "workload",
        "server",
        "median",
        "min - max",
        "runs",
        "messages a run",
        "seconds",
        "server busy",
        "load busy",
    )
    rows = []
    for workload in results.workloads:
        for server in results.servers:
            if samples := results.samples.get((server.name, workload.name)):
                figures = [sample.figure for sample in samples]
                rows.append(
                    (
                        workload.title,
                        server.title,
                        _figure(results, server.name, workload),
                        f"{_number(min(figures), workload)} - {_number(max(figures), workload)}",
                        str(len(samples)),
                        f"{samples[-1].messages:,}",
                        f"{median(sample.seconds for sample in samples):.2f}",
                        f"{median(sample.server_busy for sample in samples):.0%}",
                        f"{median(sample.load_busy for sample in samples):.0%}",
                    )
                )
    return markdown(head, rows)


def _table(results: Results, cell: Callable[[Server, Workload], str]) -> str:
    rows = [
        (server.title, *(cell(server, workload) for workload in results.workloads))
        for server in results.servers
    ]  # fmt: skip
    return markdown(("", *(workload.title for workload in results.workloads)), rows)


def _ratio_to(results: Results, name: str) -> Callable[[Server, Workload], str]:
    def cell(server: Server, workload: Workload) -> str:
        figure, base = results.median(server.name, workload), results.median(name, workload)
        return _three_digits(figure / base) if figure is not None and base else _NONE

    return cell


def _figure(results: Results, server: str, workload: Workload) -> str:
    figure = results.median(server, workload)
    return _NONE if figure is None else _number(figure, workload)


def _number(figure: float, workload: Workload) -> str:
    if workload.measure == "memory":
        return f"{_three_digits(figure / 1024)} KiB"
    nanoseconds = figure * 1e9
    return f"{_three_digits(nanoseconds)} ns" if nanoseconds < 1000 else f"{_three_digits(nanoseconds / 1000)} us"


def _three_digits(number: float) -> str:
    digits = next((digits for least, digits in ((99.95, 0), (9.995, 1), (0.0995, 2)) if number >= least), 3)
    return f"{number:,.{digits}f}"


def _notes(results: Results) -> str:
    """One line for each reason, with all workloads that it kept away."""
    titles = {server.name: server.title for server in results.servers}
    reasons: dict[tuple[str, str], list[str]] = {}
    for (server, workload), reason in results.failures.items():
        reasons.setdefault((server, reason), []).append(workload)
    return "\n".join(
        f"- {titles[server]}, {'all' if len(names) == len(results.workloads) else ', '.join(names)}: {reason}"
        for (server, reason), names in reasons.items()
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
