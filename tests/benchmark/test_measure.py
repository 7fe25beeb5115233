"""The rounds: everyone's turns, evenly spread, in an order that favours nobody."""

import itertools
from collections import Counter

import pytest

from fastloss.benchmark import measure


def test_every_contestant_has_all_its_turns():
    turns = {"fast": 40, "middling": 13, "slow": 7}
    rounds = list(measure.schedule(turns))
    assert len(rounds) == 40
    assert Counter(name for order in rounds for name in order) == turns
    assert all(len(set(order)) == len(order) for order in rounds)


def test_few_turns_are_spread_over_all_rounds():
    rounds = list(measure.schedule({"fast": 40, "slow": 8}))
    at = [number for number, order in enumerate(rounds) if "slow" in order]
    assert [b - a for a, b in itertools.pairwise(at)] == [5] * 7


def test_nobody_always_follows_the_same_other():
    rounds = list(measure.schedule(dict.fromkeys("abcd", 40)))
    before_a = Counter(order[order.index("a") - 1] for order in rounds if order[0] != "a")
    assert set(before_a) == set("bcd")
    assert max(before_a.values()) < 25


@pytest.mark.parametrize(
    "turn, seconds, rounds",
    [(1e-3, 1.0, measure.MOST_ROUNDS), (0.1, 2.0, 20), (0.5, 0.5, 7), (1.0, 0.5, 4), (9.0, 1.0, 3)],
    ids=["many", "by time", "fewest", "slow", "very slow"],
)
def test_rounds_by_time(turn, seconds, rounds):
    assert measure.rounds_of(turn, seconds) == rounds


def test_turns_alternate_and_the_median_is_of_one_call(monkeypatch):
    """With a clock of its own: a call of 3 takes 3 seconds, however often it is repeated."""
    now, seen = [0.0], []

    def contestant(name, cost):
        def call():
            seen.append(name)
            now[0] += cost

        return call

    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(measure, "wait_for_quiet", lambda: None)
    timings = measure.measure(
        {"short": contestant("short", 1e-4), "long": contestant("long", 3.0)}, seconds=10
    )
    assert timings["short"].median == pytest.approx(1e-4)
    assert timings["short"].repeats == round(measure.SHORTEST_ROUND / 1e-4)
    assert timings["long"].median == 3.0
    assert len(timings["long"].samples) == 3
    # After the warm-up, short calls go on between the long ones.
    turns = "".join(name[0] for name in seen)
    last_three = turns.split("l")[-4:]
    assert sum("s" in between for between in last_three) >= 3


def test_a_median_is_not_moved_by_one_slow_round():
    assert measure.Timing((1.0, 1.0, 50.0, 1.0, 2.0)).median == 1.0


def test_waiting_for_quiet_ends(monkeypatch):
    """Threads that never rest are not waited for longer than `LONGEST_WAIT`."""
    busy = iter(range(10_000))
    monkeypatch.setattr(measure.time, "process_time", lambda: float(next(busy)))
    start = measure.time.perf_counter()
    measure.wait_for_quiet()
    assert measure.time.perf_counter() - start < 20 * measure.LONGEST_WAIT
