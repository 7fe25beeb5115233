"""Time contestants side by side: in one process, interleaved round by round."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Contestant = Callable[[], object]
Name = TypeVar("Name", bound=Hashable)

#: Seconds that a round of one contestant lasts at least: shorter calls are repeated within it.
SHORTEST_ROUND = 2e-3
FEWEST_ROUNDS, MOST_ROUNDS = 7, 40

#: Seconds beyond which a slow contestant has fewer rounds than that, though never fewer than 3.
PATIENCE = 4.0

#: Seconds after which what still runs in other threads is taken as there to stay.
LONGEST_WAIT = 0.03


@dataclass(frozen=True)
class Timing:
    """The times of one call of a contestant, in seconds, one per round."""

    samples: tuple[float, ...]
    repeats: int = 1
    """How many calls a sample is the average of."""

    @property
    def median(self) -> float:
        """The figure that is quoted."""
        return statistics.median(self.samples)


def measure(contestants: Mapping[Name, Contestant], seconds: float) -> dict[Name, Timing]:
    """Time every contestant for about `seconds`, in `FEWEST_ROUNDS` or more.

    All are warmed up first. Then rounds are gone through in which each has one turn, in an
    order drawn anew, so that whatever else the machine does meets all of them alike and none
    always follows the same other. One too slow for every round has its turns spread evenly
    over them.
    """
    repeats, turns = {}, {}
    for name, call in contestants.items():
        once = warm_up(call)
        repeats[name] = max(1, round(SHORTEST_ROUND / once))
        turns[name] = rounds_of(once * repeats[name], seconds)
    samples: dict[Name, list[float]] = {name: [] for name in contestants}
    with _without_garbage_collection():
        for order in schedule(turns):
            for name in order:
                samples[name].append(_turn(contestants[name], repeats[name]))
    return {name: Timing(tuple(values), repeats[name]) for name, values in samples.items()}


def rounds_of(turn: float, seconds: float) -> int:
    """Return how many turns of that length a contestant has in about `seconds`."""
    fewest = min(FEWEST_ROUNDS, max(3, PATIENCE / turn))
    return int(min(max(seconds / turn, fewest), MOST_ROUNDS))


def schedule(turns: Mapping[Name, int], seed: int = 0) -> Iterator[list[Name]]:
    """Yield the order of every round: each name `turns` times in all, evenly spread, shuffled."""
    rounds = max(turns.values(), default=0)
    shuffle = random.Random(seed).shuffle
    for done in range(rounds):
        order = [n for n, t in turns.items() if (done + 1) * t // rounds > done * t // rounds]
        shuffle(order)
        yield order


def warm_up(call: Contestant, least: float = 0.02) -> float:
    """Call until compilation, allocation and caches have settled; return a call's seconds."""
    call()
    times: list[float] = []
    while sum(times) < least:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return max(statistics.median(times), 1e-8)


def _turn(call: Contestant, repeats: int) -> float:
    wait_for_quiet()
    if repeats > 1:  # short calls are timed as in a program that makes many: caches warm
        for _ in range(repeats):
            call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def wait_for_quiet() -> None:
    """Wait until no other thread of this process computes.

    After a parallel region the threads of OpenMP and their like go on spinning for some
    milliseconds, on the cores that the next contestant needs.
    """
    deadline = time.perf_counter() + LONGEST_WAIT
    pause = 1e-3
    while time.perf_counter() < deadline:
        start = time.process_time()
        time.sleep(pause)
        if time.process_time() - start < 0.2 * pause:
            return


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
