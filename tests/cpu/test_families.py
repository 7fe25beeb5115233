"""Which kernels a loss over classes gets by the way they lie, and classes brought into one line."""

import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu import (
    row_lanes,
    row_losses,
    separable,
    separable_lanes,
    softmax_lanes,
    softmax_rows,
)
from fastloss.cpu.arrangement import Arrangement, Strided
from fastloss.cpu.families import SHORT_BELOW, family_of
from fastloss.losses.softmax import IDENTITY
from fastloss.spec import RowSpec
from fastloss.variant import ClassVariant, Outputs, RowVariant
from tests.catalogue import BY_NAME
from tests.checks import check
from tests.helpers import FLOAT16, FLOAT32, each, strided

OUTPUTS = Outputs(True, True, False, False)


def reversed_(a):
    return a[::-1, ::-1].copy()[::-1, ::-1]


#: (layout, examples): of many classes, that lie nearer to each other than examples do or of few.
GATHERED = {
    "strided": (strided, 40),
    "reversed": (reversed_, 40),
    "fortran": (np.asfortranarray, 5),
}


def family(spec, soft, array):
    """The kernels for predictions like this array, with the classes on axis 1."""
    if isinstance(spec, RowSpec):
        variant = RowVariant("float32", "float32", soft, OUTPUTS)
    else:
        variant = ClassVariant("float32", "float32", soft, soft, False, IDENTITY, OUTPUTS)
    lie = Arrangement([Strided(array.shape, array.strides, array.itemsize)], (1,), (1,))
    return family_of(spec, variant, lie)


@each("layout", GATHERED)
@pytest.mark.parametrize(
    "name, soft, expected",
    [
        ("cross_entropy", False, softmax_rows),
        ("cross_entropy", True, softmax_rows),
        ("categorical_cross_entropy", True, separable),
        ("nll", False, separable_lanes),  # of which no other class is read
        ("sparsemax", True, row_losses),
    ],
)
def test_many_classes_are_gathered(name, soft, expected, layout):
    lay, examples = GATHERED[layout]
    array = lay(np.zeros((examples, SHORT_BELOW), FLOAT32))
    assert family(getattr(fl, name).spec, soft, array) is expected


def test_neither_few_classes_nor_those_of_many_examples_beside_each_other():
    """Vectors run across the examples."""
    for array in (
        strided(np.zeros((40, SHORT_BELOW - 1), FLOAT32)),
        np.zeros((SHORT_BELOW, 40), FLOAT32).T,
        np.zeros((2, SHORT_BELOW, 40), FLOAT32),
    ):
        assert family(fl.cross_entropy.spec, False, array) is softmax_lanes
        assert family(fl.sparsemax.spec, False, array) is row_lanes


@each("dtype", [FLOAT32, FLOAT16])
@each("layout", GATHERED)
@each(
    "case",
    [
        BY_NAME[name]
        for name in ("cross_entropy-hard-plain", "cross_entropy-soft-plain",
                     "categorical_cross_entropy-soft-plain", "focal_cross_entropy-hard-plain")
    ],
)  # fmt: skip
def test_gathered_classes(case, layout, dtype):
    """Value and derivatives, in a new array, in a given one that lies otherwise, and in place."""
    lay, examples = GATHERED[layout]
    predictions, targets = case.draw((examples, SHORT_BELOW + 7), dtype)
    weights = np.where(np.arange(examples) % 3 == 1, 0.0, 1.5)
    t = lay(targets) if targets.ndim == 2 else targets
    check(case, lay(predictions), t, sample_weight=weights, ulps=8)
    call = {"sample_weight": weights, "reduction": "none"}
    loss, grad = case.function.value_and_grad(predictions, targets, **call)
    in_place = lay(predictions)
    for place in (lay(np.full_like(predictions, 7)), np.full_like(predictions, 7), in_place):
        x = in_place if place is in_place else lay(predictions)
        ours, out = case.function.value_and_grad(x, t, out=place, **call)
        assert out is place
        np.testing.assert_array_equal(ours, loss)
        np.testing.assert_array_equal(out, grad)
