"""Memory layouts, `out` and in place, on the device."""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import CORE_FIRST, CORE_PLAIN
from tests.checks import check, check_grad, check_loss, truth
from tests.cuda.device import SIMULATED, DeviceLoss, needs_gpu, on_device
from tests.helpers import FLOAT16, FLOAT32, LAYOUTS, WRITABLE_LAYOUTS, each, misaligned

pytestmark = needs_gpu

SHAPES = ((3, 5), (2, 41)) if SIMULATED else ((3, 5), (7, 401), (2, 40_000))
ULPS = 32


def readable(layouts):
    """Those in which elements lie at multiples of their size, as a GPU needs them."""
    return [layout for layout in layouts.values() if layout is not misaligned]


@each("case", on_device(CORE_PLAIN))
@pytest.mark.parametrize("layout", readable(LAYOUTS), ids=lambda layout: layout.__name__)
def test_layouts(case, layout):
    for shape in SHAPES:
        predictions, targets = case.draw(shape, FLOAT32)
        check(case, layout(predictions), layout(targets), ulps=ULPS)
        check(case, layout(predictions), targets, reduction="none", ulps=ULPS)


@each("case", on_device(CORE_FIRST))
@pytest.mark.parametrize("layout", readable(WRITABLE_LAYOUTS), ids=lambda layout: layout.__name__)
def test_out_and_in_place(case, layout):
    for shape in SHAPES:
        predictions, targets = case.draw(shape, FLOAT32)
        expected = truth(case, predictions, targets)
        out = layout(np.full(shape, 7, FLOAT32))
        loss, grad = case.function.value_and_grad(predictions, targets, out=out)
        assert grad is out
        check_loss(loss, expected, FLOAT32, ULPS)
        check_grad(grad, expected, FLOAT32, ULPS)
        place = layout(predictions)
        loss, grad = case.function.value_and_grad(place, targets, out=place)
        assert grad is place
        check_loss(loss, expected, FLOAT32, ULPS)
        check_grad(grad, expected, FLOAT32, ULPS)


@each("case", on_device(CORE_FIRST))
def test_pair_of_outputs(case):
    predictions, targets = case.draw((3, 9), FLOAT32)
    outs = np.empty((3, 9), FLOAT32), np.empty((3, 9), FLOAT32)
    grad, hess = case.function.grad_and_hess(predictions, targets, out=outs)
    assert grad is outs[0] and hess is outs[1]
    plain = case.function.grad_and_hess(predictions, targets)
    np.testing.assert_array_equal(grad, plain[0])
    np.testing.assert_array_equal(hess, plain[1])


@each("case", on_device(CORE_PLAIN))
def test_every_distance_from_a_boundary(case):
    """Wide loads begin at the first multiple of 16 bytes, in each row another."""
    for dtype in (FLOAT32, FLOAT16):
        for first in range(1, 9 if dtype == FLOAT16 else 5):
            predictions, targets = case.draw((2, 23), dtype)
            held = np.zeros(predictions.size + 8, dtype)
            moved = held[first : first + predictions.size].reshape(predictions.shape)
            moved[...] = predictions
            check(case, moved, targets, ulps=ULPS)


def test_new_gradient_lies_as_the_predictions():
    """So that the next step reads both alike."""
    predictions = np.asfortranarray(np.zeros((4, 6), np.float32))
    _, grad = DeviceLoss(fl.mse).value_and_grad(predictions, predictions)
    assert grad.strides == predictions.strides


def test_zero_strides():
    weight, upstream = np.broadcast_to(2.0, 3), np.broadcast_to(np.float32(0.5), 3)
    logits, targets = np.eye(3, 5, dtype=np.float32), np.array([0, 1, 4])
    loss = DeviceLoss(fl.cross_entropy)
    plain = loss.grad(logits, targets, reduction="none")
    grad = loss.grad(logits, targets, reduction="none", sample_weight=weight, grad_output=upstream)
    np.testing.assert_allclose(grad, plain, rtol=1e-6)
    one_row = np.broadcast_to(logits[0], (3, 5))
    np.testing.assert_allclose(
        loss(one_row, targets), loss(np.ascontiguousarray(one_row), targets), rtol=1e-6
    )


def test_misaligned_elements_are_refused():
    """A GPU cannot read them, and no array library makes them."""
    aligned = np.zeros(4)
    # A plan knows strides, not addresses: the second time, there is one for aligned arrays.
    for _ in range(2):
        for role, pair in (
            ("predictions", (misaligned(aligned), aligned)),
            ("targets", (aligned, misaligned(aligned))),
            ("targets", (aligned, np.zeros(4, [("a", "f8"), ("b", "i1")])["a"])),
        ):
            with pytest.raises(ValueError, match=f"{role}: .*misaligned"):
                DeviceLoss(fl.mse)(*pair)
        DeviceLoss(fl.mse)(aligned, aligned)
