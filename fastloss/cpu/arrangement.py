"""How the classes of the examples, and the examples, lie in the arrays of a call."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastloss.axes import without
from fastloss.layouts import collapse, layout_record, one_step, permuted


class Strided(NamedTuple):
    """The shape of an array, its strides, and the bytes of an element."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int


class Arrangement:
    """How the classes lie, which go along some axes of all arrays; the first has the predictions.

    Parameters
    ----------
    arrays : list of Strided
        Those that have a number for each class of each example.
    axes : tuple of int
        The axes of the classes, or of a region.
    walk : tuple of int
        The same in the order in which the classes are counted.
    """

    def __init__(self, arrays: list[Strided], axes: tuple[int, ...], walk: tuple[int, ...]) -> None:
        shape = arrays[0].shape
        self.classes = math.prod([shape[axis] for axis in axes])
        #: Of each array the part that is one example, and the first classes of all.
        self.rows = [Strided(permuted(s, walk), permuted(b, walk), size) for s, b, size in arrays]
        self.firsts = [Strided(without(s, axes), without(b, axes), size) for s, b, size in arrays]
        self.examples = math.prod(self.firsts[0].shape)
        #: Bytes from class to class, None where no one stride leads through all.
        self.steps = [one_step(*row) for row in self.rows]
        #: Whether the classes of an example lie one after the other, and whether the examples do.
        self.in_rows = all(step == a.itemsize for step, a in zip(self.steps, arrays, strict=True))
        self.without_gaps = self.in_rows and all(
            layout_record(s, b, size * self.classes) is None for s, b, size in self.firsts
        )
        first_shape, first_strides, itemsize = self.firsts[0]
        #: How many examples lie side by side in the predictions, and their distance in bytes.
        self.run, self.apart = (collapse(first_shape, first_strides) or [(1, itemsize)])[-1]
