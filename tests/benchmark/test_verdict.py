"""Hit or miss: the goals against figures made up for it."""

import pytest

from fastloss.benchmark import tables
from fastloss.benchmark.cases import CASES, FORWARD, GRADIENT_OUT, Case, Goal
from fastloss.benchmark.verdict import Verdict, best_limit, best_peer, judge

COPY = Goal(GRADIENT_OUT, 1.2, "copy", 4)
CALL = Goal(FORWARD, 6e-6, None, 6)
CASE = Case("cross_entropy", (4096, 1000), goals=(COPY, CALL))

US = {
    "fastloss": {"forward": 5.0, "gradient": 200.0, "gradient, out=": 120.0},
    "limit": {"copy": 100.0, "best copy": 80.0, "read": 40.0},
    "torch": {"forward": 29.0, "gradient": 700.0},
    "jax": {"gradient": 480.0},
}


def judged(us):
    return list(judge([CASE], {str(CASE): {"us": us}}))


def test_ratios_are_of_medians_over_the_limit_and_the_fastest_peer():
    copy, call = judged(US)
    assert (copy.limit.measured, copy.over_best) == (pytest.approx(1.2), pytest.approx(1.5))
    assert copy.limit.hit
    assert (copy.best_peer, copy.peers.measured, copy.peers.hit) == ("jax", 4.0, True)
    assert call.limit.measured == pytest.approx(5e-6)
    assert call.limit.hit and call.over_best is None
    # Only torch has a forward here, and 29 / 5 is less than 6.
    assert (call.best_peer, call.peers.measured, call.peers.hit) == ("torch", 5.8, False)


def test_a_slower_call_misses():
    slower = {**US, "fastloss": {**US["fastloss"], "gradient, out=": 121.0}}
    copy, _ = judged(slower)
    assert not copy.limit.hit and not copy.peers.hit


def test_without_peers_there_is_nothing_to_judge_them_by():
    copy, _ = judged({"fastloss": US["fastloss"], "limit": US["limit"]})
    assert copy.peers is None and copy.best_peer is None
    assert best_peer({"fastloss": US["fastloss"], "limit": US["limit"]}, FORWARD) == (None, None)


def test_what_was_not_measured_is_said():
    (copy, _) = judge([CASE], {})
    assert copy.limit is None
    assert "not measured" in "\n".join(tables.goal_table([copy]))


def test_a_miss_is_marked():
    copy, call = (line.split() for line in tables.goal_table(judged(US))[1:])
    assert "MISS" not in copy and copy.count("hit") == 2
    assert "MISS" in call and call.count("hit") == 1


def test_what_prints_as_the_target_has_reached_it():
    assert Verdict(1.2, 1.2004).hit
    assert not Verdict(1.2, 1.206).hit
    assert Verdict(5, 4.998, at_least=True).hit
    assert not Verdict(5, 4.98, at_least=True).hit


def test_in_the_caches_the_best_copy_may_be_the_plain_one():
    assert best_limit({"copy": 20.0, "best copy": 51.0}, "copy") == 20.0
    assert best_limit({"copy": 20.0, "best copy": 15.0}, "copy") == 15.0


def test_cases_have_names_of_their_own():
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names))


def test_the_table_shows_every_goal():
    lines = tables.goal_table(judge(CASES, {}))
    assert len(lines) == 1 + sum(len(case.goals) for case in CASES)


@pytest.mark.parametrize(
    "value, text",
    [(5.4e-6, "5.4 us"), (999.9e-6, "1 ms"), (0.0123, "12.3 ms"), (2.5, "2.5 s")],
)
def test_durations(value, text):
    assert tables.seconds(value) == text


@pytest.mark.parametrize(
    "factor, text", [(None, "-"), (0.6178, "0.618x"), (10.04, "10x"), (1618.4, "1618x")]
)
def test_ratios(factor, text):
    assert tables.times(factor) == text
