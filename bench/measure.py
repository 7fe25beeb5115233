"""Time contestants side by side: in one process, interleaved round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Contestant = Callable[[], object]

#: A round of one contestant lasts at least this long; shorter calls are repeated within it.
SHORTEST_ROUND = 200e-6


def medians(
    contestants: Mapping[str, Contestant], *, seconds: float = 3.0, rounds: int = 200
) -> dict[str, float]:
    """Return the median time of one call of each, in seconds.

    Every contestant is warmed up first. A round runs each of them once, so that what else
    the machine does meets all of them alike.
    """
    repeats = {name: _repeats(call) for name, call in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    deadline = time.perf_counter() + seconds
    for done in range(rounds):
        for name, call in contestants.items():
            count = repeats[name]
            start = time.perf_counter()
            for _ in range(count):
                call()
            times[name].append((time.perf_counter() - start) / count)
        if done >= 4 and time.perf_counter() > deadline:
            break
    return {name: statistics.median(values) for name, values in times.items()}


def _repeats(call: Contestant) -> int:
    """Warm up, and return how many calls fill the shortest round."""
    for _ in range(3):
        call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    return max(1, int(SHORTEST_ROUND / once))
