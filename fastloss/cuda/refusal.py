"""The search for values that a loss does not take, on the host's wish: `validate_cuda`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cuda.driver import THREADS
from fastloss.cuda.memory import store_int64
from fastloss.cuda.primitives import block_count, block_number, thread_number

#: What stands for "none" where the number of the first bad example is looked for.
NO_EXAMPLE = 2**62


def make_refuse(count: Callable[..., Any], is_bad: Callable[..., Any]) -> Any:
    """Make a kernel of blocks of THREADS that looks for the first of count(call) examples.

    It is one for which is_bad(call, its number) holds.
    """

    def refuse(call):
        """Leave each thread's first bad example in `parts`."""
        thread = block_number() * THREADS + thread_number()
        bad = np.int64(NO_EXAMPLE)
        for i in range(thread, count(call), block_count() * THREADS):
            if bad == NO_EXAMPLE and is_bad(call, i):
                bad = np.int64(i)
        store_int64(call.parts + 8 * thread, bad)

    return refuse
