"""Tables as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastloss.benchmark.cases import CALLS, GRADIENT, GRADIENT_OUT, Case
from fastloss.benchmark.contest import LIMIT, OURS
from fastloss.benchmark.peers import PEERS
from fastloss.benchmark.verdict import Judged, Measured, Verdict

NOTHING = "-"


def align(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return the rows as lines, the first `left` columns to the left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def times(factor: float | None) -> str:
    """Return a ratio: 1.04x."""
    if factor is None:
        return NOTHING
    return f"{factor:.3g}x" if factor < 1000 else f"{factor:.0f}x"


def seconds(value: float) -> str:
    """Return a duration with the unit that suits it."""
    for unit, scale in (("us", 1e-6), ("ms", 1e-3)):
        if value < 1000 * scale * 0.9995:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} s"


def verdict(given: Verdict | None, show: Any) -> tuple[str, str, str]:
    """Return target, measured figure and hit or MISS."""
    if given is None:
        return NOTHING, NOTHING, ""
    sign = ">=" if given.at_least else "<="
    return f"{sign} {show(given.target)}", show(given.measured), "hit" if given.hit else "MISS"


def goal_table(judged: Iterable[Judged]) -> list[str]:
    """Return the table of the goals: each with its targets and what was measured."""
    head = ("goal", "call", "over", "target", "measured", "", "over best", "over peers", "", "")
    rows: list[Sequence[str]] = [(*head, "best peer")]
    for row in judged:
        goal = row.goal
        limit = verdict(row.limit, times if goal.limit else seconds)
        if row.limit is None:
            limit = ("", "not measured", "")
        rows.append(
            (
                str(row.case), goal.call, goal.limit or "(time)", *limit, times(row.over_best),
                *verdict(row.peers, times), row.best_peer or NOTHING,
            )
        )  # fmt: skip
    return align(rows, left=3)


def case_table(cases: Iterable[Case], measured: Measured) -> list[str]:
    """Return a table of our times and the peers' ratios to them."""
    rows: list[Sequence[str]] = [("case", *CALLS, *PEERS)]
    for case in cases:
        us = measured[str(case)]["us"]
        ours = us[OURS]
        rows.append(
            (
                str(case),
                *(seconds(ours[call] * 1e-6) for call in CALLS),
                *(times(ratio(us, who)) for who in PEERS),
            )
        )
    return align(rows)


def ratio(us: Mapping[str, Mapping[str, float]], who: str) -> float | None:
    """Return how many times as long as fastloss, with `out=`, a peer takes for a gradient."""
    theirs = us.get(who, {}).get(GRADIENT)
    return None if theirs is None else theirs / us[OURS][GRADIENT_OUT]


def case_line(figures: Mapping[str, Any]) -> str:
    """Return one case's figures: our times, and how many times as long the others took."""
    us = figures["us"]
    ours = us[OURS]
    parts = [f"{call} {seconds(value * 1e-6)}" for call, value in ours.items()]
    for who, what in us.items():
        if who not in (OURS, LIMIT) and GRADIENT in what:
            parts.append(f"{who} {times(ratio(us, who))}")
    return ", ".join(parts)


#: Share of the cores' time from which on a measurement counts as disturbed.
DISTURBED = 0.05


def disturbed(measured: Measured, cases: Iterable[Case]) -> list[str]:
    """Return a line per case during which the machine did much else."""
    lines = []
    for case in cases:
        figures = measured.get(str(case), {})
        others, stolen = figures.get("others") or 0.0, figures.get("stolen") or 0.0
        if others + stolen > DISTURBED:
            lines.append(f"{case}: {others:.0%} of the cores to others, {stolen:.0%} stolen")
    return lines


def left_out(measured: Measured, cases: Iterable[Case]) -> list[str]:
    """Return a line per peer and reason: which cases it has no time in."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        for who, why in measured.get(str(case), {}).get("left_out", {}).items():
            reasons.setdefault((who, why), []).append(str(case))
    return [f"{who}: {why} ({', '.join(names)})" for (who, why), names in reasons.items()]
