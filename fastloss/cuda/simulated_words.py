"""Stand-ins for the intrinsics of `ir_words`, for Numba's CUDA simulator."""

from __future__ import annotations

import numpy as np

from fastloss.cuda.simulated import _FLOATS, WIDE, _memory, _real

WORDS = WIDE // 4


def load_words(address, words, load):
    words[WORDS * load : WORDS * (load + 1)] = _memory(address, np.dtype(np.int32), WORDS)


def _make(dtype):
    def of_load(words, load):
        return words[WORDS * load : WORDS * (load + 1)].view(dtype)

    def fill(words, load):
        of_load(words, load)[:] = -np.inf

    def number(words, k):
        return _real(dtype)(words.view(dtype)[k])

    def larger(tops, words, load):
        of_load(tops, 0)[:] = np.maximum(of_load(tops, 0), of_load(words, load))

    return fill, number, larger


fill_float64, number_float64, larger_float64 = _make(_FLOATS["float64"])
fill_float32, number_float32, larger_float32 = _make(_FLOATS["float32"])
fill_float16, number_float16, larger_float16 = _make(_FLOATS["float16"])
fill_bfloat16, number_bfloat16, larger_bfloat16 = _make(_FLOATS["bfloat16"])
