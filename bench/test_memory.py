"""Peak memory beyond the inputs: O(N) for the loss, the gradient alone, nothing in place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bench.results import Results
from fastloss.benchmark import contest, memory
from fastloss.benchmark.cases import FORWARD, GRADIENT, GRADIENT_OUT, Case
from fastloss.benchmark.inputs import Inputs, draw
from fastloss.benchmark.limits import threads
from fastloss.benchmark.peers import PEERS, Unsupported

CASES = (
    Case("cross_entropy", (2048, 32000)),
    Case("cross_entropy", (1_000_000, 10)),
    Case("cross_entropy", (8, 21, 256, 256)),
    Case("cross_entropy", (2048, 32000), "bfloat16"),
    Case("mse", (10_000_000,)),
)

IN_PLACE = "in place"
OURS = (FORWARD, GRADIENT, GRADIENT_OUT, IN_PLACE)

#: Resident pages are counted per thread and added up from time to time, and an allocator keeps
#: some: what stays below this is nothing.
SLACK = 1 << 20

#: Bytes of an example that the loss alone may hold: a float64 or two.
PER_EXAMPLE = 16


def allowed(inputs: Inputs) -> Mapping[str, int]:
    """Return the goal of each of fastloss' calls."""
    forward = PER_EXAMPLE * inputs.examples if not inputs.case.by_element else 0
    gradient = int(inputs.predictions.nbytes)
    return {FORWARD: forward, GRADIENT: gradient, GRADIENT_OUT: 0, IN_PLACE: 0}


def peak(inputs: Inputs, who: str) -> int:
    if who == IN_PLACE:
        p = inputs.predictions
        in_place = Inputs(inputs.case, p, inputs.targets, p, inputs.threads)
        return memory.peak_beyond_inputs(contest.our_calls(in_place)[GRADIENT_OUT])
    calls: dict[Any, Callable[[], object]] = contest.our_calls(inputs)
    if who in calls:
        return memory.peak_beyond_inputs(calls[who])
    peer = PEERS[who].make(inputs)
    if not peer.allocates:
        raise Unsupported("writes into arrays that it is given")
    with peer.while_called():
        return memory.peak_beyond_inputs(peer.gradient, peer.forget)


def child(case_index: int, who: str) -> None:
    """Print the peak; what `measure` runs in a process of its own."""
    inputs = draw(CASES[case_index], threads())
    try:
        print(json.dumps(peak(inputs, who)))
    except Unsupported as reason:
        print(json.dumps(str(reason)))


def measure(case: Case, who: str) -> Any:
    program = f"from bench.test_memory import child; child({CASES.index(case)}, {who!r})"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_memory(case: Case, results: Results, show: Callable[[str], None]) -> None:
    if not memory.can_measure():
        pytest.skip("peak memory is read from /proc, which this system does not have")
    goals = allowed(draw(case, threads()))
    peers = [
        name for name, library in PEERS.items() if not library.missing() and not library.slow_start
    ]
    measured = {who: measure(case, who) for who in (*OURS, *peers)}
    peaks = {who: peak for who, peak in measured.items() if not isinstance(peak, str)}
    results.section("memory")[str(case)] = {
        "MB": {who: round(peak / 1e6, 2) for who, peak in peaks.items()},
        "allowed MB": {who: round((goals[who] + SLACK) / 1e6, 2) for who in OURS},
        "left_out": {
            who: measured.get(who, "not installed, or takes seconds to start")
            for who in PEERS
            if who not in peaks
        },
    }
    show(", ".join(f"{who} {peak / 1e6:.1f} MB" for who, peak in peaks.items()))
