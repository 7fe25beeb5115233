"""The end of a run: the goals, each with its target and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastloss.benchmark import tables
from fastloss.benchmark.cases import CASES
from fastloss.benchmark.verdict import judge


def write_summary(terminal: Any, results: Mapping[str, Any]) -> None:
    """Write all tables."""
    cases = results.get("cases", {})
    terminal.section("fastloss: value and gradient beside the memory's limits and the peers")
    judged = list(judge(CASES, cases))
    for line in tables.goal_table(judged):
        terminal.write_line(line)
    missing = tables.left_out(cases, CASES)
    if missing:
        terminal.write_line("")
        terminal.write_line("Peers left out:")
        for line in missing:
            terminal.write_line(f"  {line}")
