"""How the kernels of element-wise losses find invalid values, and how they load what is valid."""

import re

import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu.pointwise import CHUNK, TILE, compute_kernel
from fastloss.spec import Domain, PointwiseSpec
from fastloss.variant import Outputs, PointwiseVariant
from tests.helpers import FLOAT16, FLOAT32, FLOAT64, LAYOUTS, compiled_anew, each, libraries

COUNT = 2 * CHUNK + 3 * TILE + 5
PLACES = (0, TILE - 1, TILE, CHUNK, CHUNK + TILE + 1, COUNT - 1)


def positive(p, t, tolerance):
    return t > 0.0


def error(p, t):
    return p - t


def slope(p, t):
    return 1.0


LOSSES = {
    "hinge": (fl.hinge, 0.5),
    "binary_cross_entropy": (fl.binary_cross_entropy, -1.0),
    "own": (fl.pointwise_loss("own", error, slope, domain=Domain(positive, "targets above 0")), -3),
}

#: Without `out`, invalid values are found where what is wanted is computed.
CALLS = {
    "sum": lambda loss, *arrays: loss(*arrays, reduction="sum"),
    "each": lambda loss, *arrays: loss(*arrays, reduction="none"),
    "both": lambda loss, *arrays: loss.value_and_grad(*arrays),
    "grad": lambda loss, *arrays: loss.grad(*arrays),
}


def draw(dtype=FLOAT32):
    return np.full(COUNT, 0.25, dtype), np.ones(COUNT, dtype)


@each("call", CALLS)
@each("name", LOSSES)
def test_the_first_invalid_value_is_named(name, call):
    loss, invalid = LOSSES[name]
    for place in PLACES:
        predictions, targets = draw()
        targets[place:] = invalid
        with pytest.raises(ValueError, match=rf"at \({place},\)"):
            CALLS[call](loss, predictions, targets)


@each("dtype", [FLOAT64, FLOAT32, FLOAT16])
@each("value", [np.nan, np.inf, -np.inf, 0.0])
def test_one_invalid_value_is_found(value, dtype):
    """Whatever its loss would be: that of an infinite target is nan for some, for others not."""
    for place in PLACES:
        predictions, targets = draw(dtype)
        targets[place] = value
        with pytest.raises(ValueError, match=rf"at \({place},\)"):
            fl.hinge(predictions, targets)


@each("layout", LAYOUTS)
def test_in_every_layout(layout):
    predictions, targets = (LAYOUTS[layout](a[:8192].reshape(64, 128)) for a in draw())
    assert fl.hinge(predictions, targets) == 0.75
    targets = LAYOUTS[layout](np.where(np.arange(8192) == 5000, 2, 1).reshape(64, 128))
    where = tuple(map(int, np.argwhere(targets == 2)[0]))
    with pytest.raises(ValueError, match=re.escape(f"at {where} ")):
        fl.hinge(predictions, targets)


@each("place", PLACES)
def test_a_prediction_of_nan_is_valid(place):
    """The sum is nan then without an invalid value; with one, further on, that is found."""
    predictions, targets = draw()
    predictions[place] = np.nan
    loss, grad = fl.hinge.value_and_grad(predictions, targets)
    assert np.isnan(loss)
    assert np.flatnonzero(np.isnan(grad)).tolist() == [place]
    targets[-1] = 2.0
    with pytest.raises(ValueError, match=rf"at \({COUNT - 1},\)"):
        fl.hinge(predictions, targets)


@each("reduction", ["mean", "sum", "none"])
def test_with_a_weight_of_0_it_is_invalid_all_the_same(reduction):
    for place in PLACES:
        predictions, targets = draw()
        targets[place] = 0.0
        weights = np.where(targets == 0.0, 0.0, 1.0)
        with pytest.raises(ValueError, match=rf"at \({place},\)"):
            fl.hinge.value_and_grad(
                predictions, targets, sample_weight=weights, reduction=reduction
            )


def test_nothing_of_a_single_tile_is_written():
    predictions, targets = draw()
    predictions, targets = predictions[:TILE], targets[:TILE]
    targets[7] = 0.0
    for out in (predictions, np.full(TILE, 7.0, FLOAT32)):
        before = out.copy()
        with pytest.raises(ValueError, match=r"at \(7,\)"):
            fl.hinge.value_and_grad(predictions, targets, out=out)
        assert (out == before).all()


ELEMENTWISE = {loss.name: loss for loss in fl.losses() if isinstance(loss.spec, PointwiseSpec)}


@each("more", [False, True])
@each("name", ELEMENTWISE)
def test_nothing_lies_under_a_mask(name, more):
    """An "if" in a formula may put off the load of a target until its condition is computed.

    From memory it then comes too late: the CPU computes nothing ahead of it. Stores under a mask
    are slow by themselves.
    """
    spec = ELEMENTWISE[name].spec
    usual = tuple(o.default if o.default in o.constants else None for o in spec.options)
    outputs = Outputs(True, more, more and spec.hess is not None, False)
    variant = PointwiseVariant("float32", "float32", False, (False,) * len(usual), outputs, usual)
    kernel = compiled_anew(compute_kernel(spec, variant))
    text = "\n".join(str(library._final_module) for library in libraries(kernel._library))
    assert re.search(r"load <\d+ x float>", text), "no vectors"
    assert "@llvm.masked." not in text
