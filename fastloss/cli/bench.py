"""``python -m fastloss bench``: the short form of the benchmarks, on this machine."""

from __future__ import annotations

from fastloss.benchmark import contest, tables
from fastloss.benchmark.cases import CASES
from fastloss.benchmark.peers import PEERS
from fastloss.benchmark.verdict import judge
from fastloss.cli.progress import with_progress


def run(seconds: float) -> int:
    """Time the short cases, every contestant for about `seconds`, and print them as tables."""
    cases = [case for case in CASES if case.short]
    peers = [name for name, library in PEERS.items() if not library.slow_start]
    measured = {}
    for case in with_progress(cases):
        measured[str(case)] = contest.run(case, seconds, peers).as_json()

    print("\nTimes of a call, and how many times as long the peers take for value and gradient\n")
    print(*tables.case_table(cases, measured), sep="\n")
    print("\nGoals of the project, on a machine with two cores\n")
    print(*tables.goal_table(judge(cases, measured)), sep="\n")
    for title, lines in (
        ("Peers left out", tables.left_out(measured, cases)),
        ("Disturbed measurements", tables.disturbed(measured, cases)),
    ):
        if lines:
            print(f"\n{title}\n")
            print(*lines, sep="\n")
    return 0
