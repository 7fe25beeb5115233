"""Stand-ins for the intrinsics of `ir_shared`, for Numba's CUDA simulator."""

from __future__ import annotations

import numpy as np

from fastloss.cuda.simulated import _FLOATS, _memory, _real
from fastloss.cuda.simulated_words import WORDS

_WORD = np.dtype(np.int32)


def copy_into(tile, v, address):
    tile[WORDS * v : WORDS * (v + 1)] = _memory(address, _WORD, WORDS)


def copies_done():
    """They are done at once."""


def copy_out(tile, v, address):
    _memory(address, _WORD, WORDS)[:] = tile[WORDS * v : WORDS * (v + 1)]


def _make(dtype):
    def take(tile, k):
        return _real(dtype)(tile.view(dtype)[k])

    def put(tile, k, value):
        tile.view(dtype)[k] = value

    return take, put


take_float64, put_float64 = _make(_FLOATS["float64"])
take_float32, put_float32 = _make(_FLOATS["float32"])
take_float16, put_float16 = _make(_FLOATS["float16"])
take_bfloat16, put_bfloat16 = _make(_FLOATS["bfloat16"])
