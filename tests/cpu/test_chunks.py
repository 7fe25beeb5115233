"""How many examples a tile holds."""

import pytest

from fastloss.cpu.chunks import whole_tiles


@pytest.mark.parametrize(
    "tile, run, expected",
    [
        (512, 65536, 512),
        (512, 576, 288),
        (512, 196, 196),
        (512, 2500, 500),
        (512, 32, 32),
        (512, 31, 512),  # far smaller tiles would cost more than what is copied
        (512, 2503, 512),  # a prime
        (512, 127 * 127, 512),  # one of so many tiles lies in two runs
        (512, 300 * 300, 500),
        (32, 96, 32),
    ],
)
def test_a_run_is_whole_tiles(tile, run, expected):
    assert whole_tiles(tile, run) == expected
