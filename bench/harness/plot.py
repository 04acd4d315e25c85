"""Drawings of what was found, one SVG each. matplotlib draws them, in the environment of the bench."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from harness.errors import Failure
from harness.paths import BENCH, PLOTS, PYTHON
from harness.report import Results
from harness.suites import Plot

_DEADLINE = 120


def draw(results: Results, plots: Sequence[Plot]) -> None:
    """Draw every plot of which there is something to see.

    Raises:
        Failure: matplotlib is missing, or failed.
    """
    drawings = [drawing(results, plot) for plot in plots]
    if drawings:
        PLOTS.mkdir(exist_ok=True)
        run(drawings)


def drawing(results: Results, plot: Plot) -> dict[str, object]:
    """What is to be drawn: lines of numbers, in seconds."""
    lines = []
    for server in results.servers:
        points = [(number, results.median(server.name, workload)) for number, workload in plot.points]
        found = [(number, figure) for number, figure in points if figure is not None]
        if found:
            lines.append({"label": server.title, "points": found})
    return {
        "path": str(PLOTS / f"{plot.name}.svg"),
        "title": plot.title,
        "x": plot.axis,
        "y": "CPU time",
        "lines": lines,
    }


def run(drawings: Sequence[dict[str, object]]) -> None:
    """Hand drawings to the process that has matplotlib.

    Raises:
        Failure: it is missing, or failed.
    """
    command = [str(PYTHON), str(BENCH / "harness" / "draw.py")]
    try:
        done = subprocess.run(
            command, input=json.dumps(drawings), capture_output=True, text=True, timeout=_DEADLINE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"the drawings could not be made: {error}") from None
    if done.returncode:
        raise Failure(f"the drawings could not be made: {done.stderr.strip().splitlines()[-1:]}")
