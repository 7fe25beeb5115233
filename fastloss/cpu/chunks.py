"""How work is cut up: chunks, each for one thread, of tiles that a kernel goes through.

Neither depends on the number of threads, and so the results do not.
"""

from __future__ import annotations

#: Predictions that make one chunk worth a thread's while.
CHUNK = 32768


def examples_per_chunk(predictions: int, tile: int = 1) -> int:
    """Return how many examples one chunk holds, each of so many predictions: whole tiles."""
    return tile * max(1, CHUNK // (predictions * tile))


def power_of_two(wanted: int, least: int, most: int) -> int:
    """Return the power of two that is at or next below `wanted`, held between two others."""
    return int(1 << (max(least, min(most, wanted)).bit_length() - 1))
