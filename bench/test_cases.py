"""Every case beside its peers and the limits of the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.results import Results
from fastloss.benchmark import contest, tables
from fastloss.benchmark.cases import CASES, GRADIENT_OUT, Case
from fastloss.benchmark.contest import OURS, Entry

#: Seconds for each contestant: where one call takes a tenth of one, seven need their time.
SECONDS_SMALL, SECONDS_LARGE = 0.25, 0.7
LARGE = 4_000_000


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(
    case: Case,
    results: Results,
    show: Callable[[str], None],
    hand_over: Callable[[Any], None],
    pytestconfig: pytest.Config,
) -> None:
    seconds = pytestconfig.getoption("--seconds")
    seconds = seconds or (SECONDS_SMALL if case.size < LARGE else SECONDS_LARGE)
    outcome = contest.run(case, seconds)
    figures = outcome.as_json()
    results.section("cases")[str(case)] = figures
    hand_over(outcome.timings[Entry(OURS, GRADIENT_OUT)])
    show(tables.case_line(figures))
    assert not outcome.disagreeing
