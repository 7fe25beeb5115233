"""Losses over regions on the device: axes and layouts that no one stride walks through."""

import itertools

import numpy as np
import pytest

import fastloss as fl
from tests.cuda.device import SIMULATED, DeviceLoss, needs_gpu
from tests.helpers import FLOAT16, FLOAT32, FLOAT64, each
from tests.regions import REGION_LAYOUTS, check, cropped, draw

pytestmark = needs_gpu

#: Regions of a thread's, a warp's and a block's.
SHAPES = ((2, 3, 3, 4), (2, 2, 9, 7)) if SIMULATED else ((2, 3, 4, 5), (2, 3, 60, 70))
ULPS = 32


@each("layout", REGION_LAYOUTS)
@each("name", ["dice", "tversky"])
def test_layouts(name, layout):
    lay = REGION_LAYOUTS[layout]
    for shape in SHAPES:
        p, t = draw(shape, FLOAT32)
        for x, y in ((lay(p), t), (p, lay(t)), (lay(p), lay(t))):
            check(name, x, y, (2, 3), ULPS, wrap=DeviceLoss, reduction="none")
        out = lay(np.zeros_like(p))
        _, grad = check(name, p, t, (2, 3), ULPS, out=out, wrap=DeviceLoss)
        assert grad is out


@pytest.mark.parametrize("axes", list(itertools.combinations(range(4), 2)), ids=str)
def test_axes(axes):
    p, t = draw(SHAPES[0], FLOAT16)
    check("jaccard", p, t, axes, ULPS, wrap=DeviceLoss)


@each("layout", REGION_LAYOUTS)
def test_in_place_and_hessian(layout):
    p, t = draw(SHAPES[0], FLOAT64)
    expected = fl.dice.grad_and_hess(p, t)
    place = REGION_LAYOUTS[layout](p)
    grad, hess = DeviceLoss(fl.dice).grad_and_hess(place, t, out=place)
    np.testing.assert_allclose(grad, expected[0], rtol=1e-12)
    np.testing.assert_allclose(hess, expected[1], rtol=1e-12)


def test_few_long_regions_that_are_not_rows():
    """A block for each, where a warp would be alone on the device."""
    p, t = draw((1, 2, 20, 19) if SIMULATED else (1, 2, 300, 301), FLOAT32)
    moved = np.ascontiguousarray(np.moveaxis(p, 1, -1))
    check("dice", np.moveaxis(moved, -1, 1), t, (2, 3), ULPS, wrap=DeviceLoss)
    check("dice", cropped(p), t, (2, 3), ULPS, wrap=DeviceLoss)
