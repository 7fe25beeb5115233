"""The two plots of the README: against the peers, and against the memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image  # comes with matplotlib

from fastloss.benchmark import tables
from fastloss.benchmark.cases import CASES, GRADIENT, GRADIENT_OUT, Case
from fastloss.benchmark.contest import LIMIT, OURS
from fastloss.benchmark.peers import PEERS
from fastloss.benchmark.verdict import best_limit, best_peer

#: Colour and marker of each peer, told apart without colour too (Okabe and Ito's palette).
STYLES = dict(
    zip(
        PEERS,
        (("#999999", "o"), ("#D55E00", "s"), ("#E69F00", "D"), ("#0072B2", "^"), ("#009E73", "v")),
        strict=True,
    )
)
OURS_COLOUR = "#000000"
WIDTH, ROW, MARGIN = 9.0, 0.3, 1.5

#: Below this an array fits the second cache, and its copy is no limit worth the name.
LEAST_ELEMENTS = 250_000

SHORT_NAMES = {"binary_cross_entropy_with_logits": "bce with logits", "binary_cross_entropy": "bce"}


def shown_cases(results: Mapping[str, Any]) -> list[Case]:
    """Return the cases of both plots, those that are the same in another dtype left out."""
    return [
        case
        for case in CASES
        if str(case) in results["cases"] and case.dtype == "float32" and not case.soft
    ]


def label(case: Case) -> str:
    """Return the name of a row: mse 10,000,000; cross_entropy 256 x 1,000."""
    shape = " x ".join(f"{n:,}" for n in case.shape)
    return f"{SHORT_NAMES.get(case.loss, case.loss).replace('_', '-')}  {shape}"


def plot_peers(results: Mapping[str, Any], path: Path) -> None:
    """How many times as long as fastloss each peer takes for value and gradient."""
    cases = shown_cases(results)
    figure, axes = rows_of(cases, "times as long as fastloss (value and gradient, out= given)")
    axes.axvline(1, color=OURS_COLOUR, linewidth=1.5, label="fastloss")
    for name, (colour, marker) in STYLES.items():
        points = [
            (ratio, row)
            for row, case in enumerate(cases)
            if (ratio := tables.ratio(results["cases"][str(case)]["us"], name)) is not None
        ]
        if points:
            draw_points(axes, points, marker, colour, name, filled=True)
    finish(figure, axes, results, path)


def plot_memory(results: Mapping[str, Any], path: Path) -> None:
    """How far value and gradient are from a plain copy (or triad) of the same bytes."""
    cases = [case for case in shown_cases(results) if case.size >= LEAST_ELEMENTS]
    figure, axes = rows_of(
        cases, "time over a plain parallel copy of the logits (by element: a triad of the arrays)"
    )
    axes.axvline(1, color="#999999", linewidth=1.5, label="plain copy or triad")
    best, ours, peers = [], [], []
    for row, case in enumerate(cases):
        us = results["cases"][str(case)]["us"]
        name = "triad" if case.by_element else "copy"
        plain = us[LIMIT][name]
        best.append(((best_limit(us[LIMIT], name) or plain) / plain, row))
        ours.append((us[OURS][GRADIENT_OUT] / plain, row))
        _, fastest = best_peer(us, GRADIENT)
        if fastest is not None:
            peers.append((fastest / plain, row))
            axes.plot([ours[-1][0], peers[-1][0]], [row, row], color="#dddddd", zorder=1)
    draw_points(axes, best, "|", "#0072B2", "the best that the machine can do", filled=True)
    draw_points(axes, ours, "o", OURS_COLOUR, "fastloss", filled=True)
    draw_points(axes, peers, "o", "#D55E00", "fastest peer", filled=False)
    finish(figure, axes, results, path)


def rows_of(cases: list[Case], title: str) -> tuple[Figure, Axes]:
    """Return a figure with one row per case and a logarithmic axis of ratios."""
    figure, axes = plt.subplots(figsize=(WIDTH, MARGIN + ROW * len(cases)))
    axes.set_yticks(range(len(cases)), [label(case) for case in cases])
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlabel(title)
    return figure, axes


def draw_points(
    axes: Axes,
    points: list[tuple[float, int]],
    marker: str,
    colour: str,
    name: str,
    *,
    filled: bool,
) -> None:
    """Draw (ratio, row) points."""
    ratios, rows = zip(*points, strict=True)
    face = colour if filled else "white"
    axes.plot(
        ratios, rows, linestyle="none", marker=marker, markersize=10 if marker == "|" else 6.5,
        markerfacecolor=face, markeredgecolor=colour, markeredgewidth=1.6, label=name, zorder=3,
    )  # fmt: skip


def digest(results: Mapping[str, Any]) -> str:
    """Return what tells these results from others: it goes with each picture."""
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()


def drawn_from(path: Path) -> str | None:
    """Return the digest of the results that a picture was drawn from."""
    with Image.open(path) as picture:
        return picture.info.get("Source")


def finish(figure: Figure, axes: Axes, results: Mapping[str, Any], path: Path) -> None:
    """Add grid and legend, and write the same bytes for the same results."""
    metadata = {"Software": None, "Source": digest(results)}
    low, high = axes.get_xlim()
    ticks = [base * 10**power for power in range(-2, 4) for base in (1, 2, 5)]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.grid(axis="x", color="#eeeeee", zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(
        ncols=6, loc="lower left", bbox_to_anchor=(0, 1), frameon=False, handletextpad=0.3,
        columnspacing=1.4,
    )  # fmt: skip
    figure.savefig(path, dpi=120, bbox_inches="tight", metadata=metadata)
    plt.close(figure)


#: File beside the results -> what draws it.
PLOTS: dict[str, Callable[[Mapping[str, Any], Path], None]] = {
    "peers.png": plot_peers,
    "memory.png": plot_memory,
}


def describe(name: str) -> str:
    """Return what a plot shows, for those who cannot see it."""
    return str(PLOTS[name].__doc__).strip().rstrip(".")
