"""The picture of a loss: value and gradient side by side, for light and for dark pages."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lossdocs.views import View

#: Okabe and Ito's colours for the targets, which the colour-blind tell apart, and the ink.
STYLES = {
    "light": {"ink": "#3b3b3b", "grid": "#dddddd", "targets": ("#0072b2", "#d55e00")},
    "dark": {"ink": "#d0d0d0", "grid": "#444444", "targets": ("#56b4e9", "#e69f00")},
}

#: The defaults are solid; options differ by their dashes, not by colour alone.
DASHES = ((), (5, 2), (1.5, 1.5))

_SETTINGS = {
    "font.size": 9,
    "svg.hashsalt": "fastloss",  # the same picture is the same file
    "mathtext.fontset": "dejavusans",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(view: View, style: str) -> Figure:
    """Draw a view in one of the `STYLES`."""
    look = STYLES[style]
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), look["ink"])
    ticks = dict.fromkeys(("xtick.color", "ytick.color"), look["ink"])
    with mpl.rc_context({**_SETTINGS, **ink, **ticks, "grid.color": look["grid"]}):
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        panels = figure.subplots(1, 2)
        titles = (r"value $\ell$", f"gradient ${view.derivative}$")
        for axes, field, title in zip(panels, ("value", "grad"), titles, strict=True):
            _panel(axes, view, field, look["targets"])
            axes.set_title(title, fontsize=10)
            axes.set_xlabel(view.across)
        if len(view.curves) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(
                handles, labels, loc="outside lower center", ncols=len(labels), frameon=False,
                handlelength=2.6,
            )  # fmt: skip
    return figure


def _panel(axes: Axes, view: View, field: str, colors: tuple[str, ...]) -> None:
    axes.grid(linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axhline(0.0, color=axes.spines["left"].get_edgecolor(), linewidth=0.6)
    for curve in view.curves:
        axes.plot(
            view.x,
            getattr(curve, field),
            color=colors[curve.target],
            dashes=DASHES[curve.variant],
            linewidth=1.8,
            zorder=3 - 0.1 * curve.variant,  # the defaults on top
            label=curve.label or "defaults",
        )
    axes.set_xlim(np.round(view.x[[0, -1]], 1))  # 0 and 1 for the probabilities between them
    axes.set_ylim(*_limits(view, field))


def _limits(view: View, field: str) -> tuple[float, float]:
    """The range of the curves, but for what happens near the ends, where some have a pole.

    An option that needs much more room than the defaults is cut off.
    """
    low, high = _range(view, field, 0)
    room = 0.6 * (high - low)
    for variant in {curve.variant for curve in view.curves} - {0}:
        lower, higher = _range(view, field, variant)
        low, high = max(min(low, lower), low - room), min(max(high, higher), high + room)
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _range(view: View, field: str, variant: int) -> tuple[float, float]:
    """The smallest and the largest value of the curves of a variant, 0 among them."""
    curves = np.stack([getattr(c, field) for c in view.curves if c.variant == variant])
    ends = curves.shape[1] // 16
    everywhere, middle = (
        (min(np.nanmin(part), 0.0), max(np.nanmax(part), 0.0))
        for part in (curves, curves[:, ends:-ends])
    )
    return middle if np.ptp(everywhere) > 2.0 * np.ptp(middle) else everywhere


def save(view: View, stem: Path) -> None:
    """Write ``stem-light.svg`` and ``stem-dark.svg``."""
    for style in STYLES:
        figure = draw(view, style)
        with mpl.rc_context(_SETTINGS):
            figure.savefig(
                stem.with_name(f"{stem.name}-{style}.svg"),
                transparent=True,
                metadata={"Date": None},
            )
