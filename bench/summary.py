"""The end of a run: the goals, each with its target and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastloss.benchmark import tables
from fastloss.benchmark.cases import CASES
from fastloss.benchmark.verdict import Verdict, judge


def write_summary(terminal: Any, results: Mapping[str, Any]) -> None:
    """Write all tables."""
    cases = results.get("cases", {})
    for title, lines in (
        ("beside the limits of the memory and the peers", tables.goal_table(judge(CASES, cases))),
        ("a fresh process", tables.align(list(start_rows(results)), left=2)),
        ("peak memory beyond the inputs", tables.align(list(memory_rows(results)), left=2)),
        ("scaling", tables.align(list(scaling_rows(results)), left=2)),
        ("disturbed measurements", tables.disturbed(cases, CASES)),
        ("peers left out", tables.left_out(cases, CASES)),
    ):
        terminal.section(f"fastloss: {title}")
        for line in lines or ["nothing"]:
            terminal.write_line(line)


def start_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield what a fresh process waits for."""
    yield ("loss", "", "target", "measured", "")
    for loss, row in results.get("start", {}).items():
        for what, value in row["s"].items():
            yield loss, what, *tables.verdict(Verdict(row["goals s"][what], value), tables.seconds)


def memory_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the peaks: fastloss' with their goals, and those of the peers."""
    yield ("case", "", "target", "measured", "")
    for case, row in results.get("memory", {}).items():
        for what, value in row["MB"].items():
            goal = row["allowed MB"].get(what)
            judged = None if goal is None else Verdict(goal, value)
            target, _, hit = tables.verdict(judged, megabytes)
            yield case, what, target, megabytes(value), hit
        for who, why in row["left_out"].items():
            yield case, who, tables.NOTHING, tables.NOTHING, why


def megabytes(value: float) -> str:
    """Return a size: 262 MB."""
    return f"{value:.3g} MB"


def scaling_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the fitted exponents, and the speed-up by threads."""
    yield ("with", "call", "")
    for growing, found in results.get("scaling", {}).items():
        for call, power in found.items():
            yield growing, call, f"time ~ size^{power}"
    for case, found in results.get("threads", {}).items():
        for call, factors in found.items():
            shown = ", ".join(f"{count}: {factor}x" for count, factor in factors.items())
            yield f"threads, {case}", call, shown
