"""Draw what comes as JSON on the standard input. A process of its own: only the bench's environment has matplotlib."""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

mpl.use("svg")
mpl.rcParams.update({
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "crosspeer",  # the same figures give the same file
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
})  # fmt: skip

OURS = "crosspeer"
COLOURS = {
    "crosspeer, native engine": "#1b5fd0", "crosspeer, python engine": "#5aa9e6", "floor": "#7f7f7f",
    "crossws on Bun": "#d95f02", "crossws on Node": "#e7298a", "ws on Node": "#66a61e", "picows": "#a6761d",
    "websockets": "#7570b3", "uvicorn": "#c7a500",
}  # fmt: skip


def main() -> None:
    for drawing in json.load(sys.stdin):
        draw(drawing)


def draw(drawing: dict[str, Any]) -> None:
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    for line in drawing["lines"]:
        numbers, values = zip(*line["points"], strict=True)
        ours = line["label"].startswith(OURS)
        axes.plot(
            numbers, values, marker="o", markersize=4, linewidth=2.4 if ours else 1.4, label=line["label"],
            color=COLOURS.get(line["label"]),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted({number for line in drawing["lines"] for number, _ in line["points"]}))
    labels = drawing.get("labels", {})
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: labels.get(f"{number:.0f}") or counted(number)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: timed(seconds)))
    # Room for a decade at least: small differences are to look small.
    values = [value for line in drawing["lines"] for _, value in line["points"]]
    axes.set_ylim(min(values) / 2, max(max(values) * 1.3, min(values) * 6))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
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
