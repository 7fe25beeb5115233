"""How the time grows with examples, classes and threads, as an exponent fitted to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numba
import numpy as np
import pytest

from bench.results import Results
from fastloss.benchmark import contest
from fastloss.benchmark.cases import FORWARD, GRADIENT_OUT, Case
from fastloss.benchmark.inputs import draw
from fastloss.benchmark.limits import threads
from fastloss.benchmark.measure import measure

SECONDS = 0.3

#: What grows, and the shapes; none of them fits the caches.
GROWING: Mapping[str, tuple[Case, ...]] = {
    "N, 1000 classes": tuple(
        Case("cross_entropy", (n, 1000)) for n in (16384, 32768, 65536, 131072)
    ),
    "N, 10 classes": tuple(
        Case("cross_entropy", (n, 10)) for n in (1 << 20, 1 << 21, 1 << 22, 1 << 23)
    ),
    "C, 512 rows": tuple(Case("cross_entropy", (512, c)) for c in (32000, 64000, 128000, 256000)),
    "elements, mse": tuple(Case("mse", (n,)) for n in (1 << 24, 1 << 25, 1 << 26, 1 << 27)),
}

THREADS = (
    Case("cross_entropy", (2048, 32000)),
    Case("cross_entropy", (256, 1000)),
    Case("cross_entropy", (65536, 10)),
    Case("binary_cross_entropy_with_logits", (10_000_000,)),
)


def calls_of(case: Case) -> dict[str, Callable[[], object]]:
    calls: dict[Any, Callable[[], object]] = contest.our_calls(draw(case, threads()))
    return {name: calls[name] for name in (FORWARD, GRADIENT_OUT)}


def exponent(sizes: list[int], times: list[float]) -> float:
    """Return k of the power law time ~ size^k that fits best."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


@pytest.mark.parametrize("growing", GROWING)
def test_scaling_with_size(growing: str, results: Results, show: Callable[[str], None]) -> None:
    cases = GROWING[growing]
    contestants = {(call, case.size): run for case in cases for call, run in calls_of(case).items()}
    timings = measure(contestants, SECONDS)
    sizes = [case.size for case in cases]
    found = {
        call: round(exponent(sizes, [timings[call, size].median for size in sizes]), 3)
        for call in (FORWARD, GRADIENT_OUT)
    }
    results.section("scaling")[growing] = found
    show(", ".join(f"{call} ~ size^{power}" for call, power in found.items()))


@pytest.mark.parametrize("case", THREADS, ids=str)
def test_scaling_with_threads(case: Case, results: Results, show: Callable[[str], None]) -> None:
    most = threads()

    def on(count: int, run: Callable[[], object]) -> Callable[[], object]:
        def call() -> None:
            numba.set_num_threads(count)
            run()

        return call

    counts = range(1, most + 1)
    contestants = {
        (call, count): on(count, run) for call, run in calls_of(case).items() for count in counts
    }
    try:
        timings = measure(contestants, SECONDS)
    finally:
        numba.set_num_threads(most)
    found = {
        call: {
            str(count): round(timings[call, 1].median / timings[call, count].median, 2)
            for count in counts
        }
        for call in (FORWARD, GRADIENT_OUT)
    }
    results.section("threads")[str(case)] = found
    show(", ".join(f"{call} {times[str(most)]}x on {most}" for call, times in found.items()))
