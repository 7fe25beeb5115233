"""Loads of 16 bytes that stay in registers as they lie in memory; see `ir_words`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastloss.cuda.primitives import WIDE
from fastloss.device import simulated
from fastloss.elementary import inline

instructions: Any
if simulated():
    from fastloss.cuda import simulated_words as instructions
else:
    from fastloss.cuda import ir_words as instructions

#: Words of one load.
WORDS = WIDE // 4


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


def _plain(name: str) -> Any:
    """Return an instruction as a function of this module: see `primitives`."""
    instruction = getattr(instructions, name)

    def fill(words, load):
        instruction(words, load)

    def number(words, k):
        return instruction(words, k)

    def larger(tops, words, load):
        instruction(tops, words, load)

    function = {"fill": fill, "number": number, "larger": larger}[name.partition("_")[0]]
    function.__name__ = function.__qualname__ = name
    return inline(function)


_DTYPES = ("float64", "float32", "float16", "bfloat16")
globals().update(
    {f"{act}_{dtype}": _plain(f"{act}_{dtype}") for act in Words._fields for dtype in _DTYPES}
)

WORDS_OF = {
    dtype: Words(*[globals()[f"{act}_{dtype}"] for act in Words._fields]) for dtype in _DTYPES
}
