"""How work is cut up: chunks, each for one thread, of tiles that a kernel goes through.

Neither depends on the number of threads, and so the results do not.
"""

from __future__ import annotations

#: Predictions that make one chunk worth a thread's while.
CHUNK = 32768

#: Examples of a tile, at least. Tiles of a run from which on those that lie in two are few.
MIN_EXAMPLES, LONG_RUN = 32, 8


def examples_per_chunk(predictions: int, tile: int = 1) -> int:
    """Return how many examples one chunk holds, each of so many predictions: whole tiles."""
    return tile * max(1, CHUNK // (predictions * tile))


def whole_tiles(tile: int, run: int) -> int:
    """Return how many examples a tile holds, at most `tile`, so that a run of them is whole tiles.

    What lies in two runs is copied to and fro. It is `tile` where only far smaller ones would do.
    """
    least = MIN_EXAMPLES if run < LONG_RUN * tile else tile // 2
    return next((size for size in range(tile, least - 1, -1) if run % size == 0), tile)


def power_of_two(wanted: int, least: int, most: int) -> int:
    """Return the power of two that is at or next below `wanted`, held between two others."""
    return int(1 << (max(least, min(most, wanted)).bit_length() - 1))
