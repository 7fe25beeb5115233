"""Loads of 16 bytes that stay in registers as they lie in memory; see `ir_words`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastloss.cuda.primitives import plain
from fastloss.device import simulated
from fastloss.dtypes import FLOATS
from fastloss.elementary import inline

instructions: Any
if simulated():
    from fastloss.cuda import simulated_words as instructions
else:
    from fastloss.cuda import ir_words as instructions

#: Words of one load.
WORDS = instructions.WORDS


class Words(NamedTuple):
    """What is done with the words of a dtype; `words` hold several loads."""

    #: (words, load): every number becomes -inf.
    fill: Callable[..., Any]
    #: (words, k) -> number k.
    number: Callable[..., Any]
    #: (tops, words, load): numbers of `tops` become the larger ones, nan if either is.
    larger: Callable[..., Any]


@inline
def load_words(address, words, load):
    """Read 16 aligned bytes into the words of a load."""
    instructions.load_words(address, words, load)


_ARGUMENTS = {"fill": 2, "number": 2, "larger": 3}
globals().update(
    {
        f"{act}_{dtype}": plain(instructions, f"{act}_{dtype}", arguments, __name__)
        for act, arguments in _ARGUMENTS.items()
        for dtype in FLOATS
    }
)

WORDS_OF = {
    dtype: Words(*[globals()[f"{act}_{dtype}"] for act in Words._fields]) for dtype in FLOATS
}
