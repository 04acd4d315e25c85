"""Draw what comes as JSON on the standard input; a process of its own, for only the bench's environment has matplotlib."""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

mpl.use("svg")
mpl.rcParams.update({
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "crosspeer",  # the same figures give the same file
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
})  # fmt: skip

OURS, OTHERS = "crosspeer", ("#7f7f7f", "#d95f02", "#7570b3", "#66a61e", "#a6761d", "#e7298a")
COLOURS = {"native": "#1b5fd0", "python": "#5aa9e6"}


def main() -> None:
    for drawing in json.load(sys.stdin):
        draw(drawing)


def draw(drawing: dict[str, Any]) -> None:
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    others = iter(OTHERS)
    for line in drawing["lines"]:
        numbers, values = zip(*line["points"], strict=True)
        ours = line["label"].startswith(OURS)
        colour = COLOURS["python" if "python" in line["label"] else "native"] if ours else next(others)
        axes.plot(numbers, values, marker="o", markersize=4, linewidth=2.4 if ours else 1.4, color=colour, label=line["label"])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted({number for line in drawing["lines"] for number, _ in line["points"]}))
    labels = drawing.get("labels", {})
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: labels.get(f"{number:.0f}") or counted(number)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: timed(seconds)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set(title=drawing["title"], xlabel=drawing["x"], ylabel=drawing["y"])
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.6)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(drawing["path"], metadata={"Date": None, "Creator": None})
    plt.close(figure)


def counted(number: float) -> str:
    """1,000 and 64 Ki: numbers that are no round thousands are sizes."""
    if number >= 1024 and number % 1000:
        return f"{round(number / 1024):,} Ki" if number < 1 << 19 else f"{round(number / (1 << 20))} Mi"
    return f"{number:,.0f}"


def timed(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds / 1e-9:g} ns"


if __name__ == "__main__":
    main()
