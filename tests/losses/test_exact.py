"""The mission's formulas by hand: numbers that were not computed by any program of ours."""

import numpy as np
import pytest

import fastloss as fl
from tests.checks import grad_of
from tests.helpers import each

LOG2, LOG3 = 0.6931471805599453094, 1.0986122886681096914
LN = np.log


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-15, atol=4e-16)


def test_mse_is_half_the_square():
    """1/2 (y - p)^2, gradient p - y, curvature 1."""
    p, y = np.array([3.0, -1.0]), np.array([1.0, 1.0])
    loss, grad = fl.mse.value_and_grad(p, y, reduction="none")
    np.testing.assert_array_equal(loss, [2.0, 2.0])
    np.testing.assert_array_equal(grad, [2.0, -2.0])
    np.testing.assert_array_equal(fl.mse.grad_and_hess(p, y, reduction="none")[1], [1.0, 1.0])
    assert fl.mse(p, y) == 2.0 and fl.mse(p, y, half=False) == 4.0
    np.testing.assert_array_equal(grad_of(fl.mse, p, y), [1.0, -1.0])
    np.testing.assert_array_equal(grad_of(fl.mse, p, y, half=False), [2.0, -2.0])


def test_mse_of_a_box():
    """Four coordinates of a box, as in the mission: mean over all of them."""
    p, y = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 2.0, 4.0]])
    assert fl.mse(p, y) == (0.5 + 0 + 0 + 2) / 4


def test_hinge_by_hand():
    """max(0, 1 - y p): wrong side, inside the margin, at it, beyond it."""
    p, y = np.array([-2.0, 0.5, 1.0, 3.0, -3.0, 0.25]), np.array([1.0, 1, 1, 1, -1, -1])
    loss, grad = fl.hinge.value_and_grad(p, y, reduction="none")
    np.testing.assert_array_equal(loss, [3, 0.5, 0, 0, 0, 1.25])
    np.testing.assert_array_equal(grad, [-1, -1, 0, 0, 0, 1])
    loss, grad = fl.hinge.value_and_grad(p, y, reduction="none", squared=True)
    np.testing.assert_array_equal(loss, [9, 0.25, 0, 0, 0, 1.5625])
    np.testing.assert_array_equal(grad, [-6, -1, 0, 0, 0, 2.5])
    np.testing.assert_array_equal(
        fl.hinge(p, y, reduction="none", margin=0.5), [2.5, 0, 0, 0, 0, 0.75]
    )
    _, hess = fl.hinge.grad_and_hess(p, y, reduction="none", squared=True)
    np.testing.assert_array_equal(hess, [2, 2, 0, 0, 0, 2])


def test_binary_cross_entropy_by_hand():
    p, y = np.array([0.5, 0.25, 0.75, 0.5]), np.array([1.0, 0.0, 0.0, 0.5])
    loss, grad = fl.binary_cross_entropy.value_and_grad(p, y, reduction="none")
    close(loss, [LOG2, 2 * LOG2 - LOG3, 2 * LOG2, LOG2])
    close(grad, [-2, 4 / 3, 4, 0])
    _, hess = fl.binary_cross_entropy.grad_and_hess(p, y, reduction="none")
    close(hess, [4, 16 / 9, 16, 4])


def test_binary_cross_entropy_with_logits_by_hand():
    """z = log 3 is a probability of 3/4."""
    z, y = np.array([0.0, LOG3, LOG3, -LOG3]), np.array([1.0, 1.0, 0.0, 0.5])
    loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(z, y, reduction="none")
    close(loss, [LOG2, 2 * LOG2 - LOG3, 2 * LOG2, 2 * LOG2 - LOG3 / 2])
    close(grad, [-0.5, -0.25, 0.75, -0.25])
    _, hess = fl.binary_cross_entropy_with_logits.grad_and_hess(z, y, reduction="none")
    close(hess, [1 / 4, 3 / 16, 3 / 16, 3 / 16])


def test_pos_weight_multiplies_the_positive_term():
    z, y = np.array([LOG3, LOG3]), np.array([1.0, 0.0])
    loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(
        z, y, pos_weight=5.0, reduction="none"
    )
    close(loss, [5 * (2 * LOG2 - LOG3), 2 * LOG2])
    close(grad, [-1.25, 0.75])


def test_binary_label_smoothing():
    """t(1 - e) + e/2: 1 becomes 0.9, 0 becomes 0.1, at e = 0.2."""
    z, y = np.array([LOG3, LOG3]), np.array([1.0, 0.0])
    loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(
        z, y, label_smoothing=0.2, reduction="none"
    )
    close(loss, [2 * LOG2 - 0.9 * LOG3, 2 * LOG2 - 0.1 * LOG3])
    close(grad, [-0.15, 0.65])


@each("name", ["cross_entropy", "categorical_cross_entropy"])
def test_categorical_forms_by_hand(name):
    """Probabilities 1/2, 1/4, 1/4, as themselves and as logits log 2, 0, 0."""
    p = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    predictions = p if name.startswith("categorical") else LN(4 * p)
    loss = getattr(fl, name)
    close(loss(predictions, np.array([0, 0]), reduction="none"), [LOG2, 2 * LOG2])
    close(loss(predictions, np.array([0, 0])), 1.5 * LOG2)
    one_hot = np.array([[1.0, 0, 0], [1.0, 0, 0]])
    close(loss(predictions, one_hot), 1.5 * LOG2)
    soft = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    close(loss(predictions, soft, reduction="none"), [1.5 * LOG2, 2 * LOG2])


def test_gradients_over_classes_by_hand():
    """Softmax minus one-hot; minus one over the probability."""
    p = np.array([[0.5, 0.25, 0.25]])
    close(grad_of(fl.cross_entropy, LN(4 * p), np.array([1])), [[0.5, -0.75, 0.25]])
    close(fl.cross_entropy.grad_and_hess(LN(4 * p), np.array([1]))[1], [[1 / 4, 3 / 16, 3 / 16]])
    close(grad_of(fl.categorical_cross_entropy, p, np.array([1])), [[0, -4, 0]])
    close(fl.categorical_cross_entropy.grad_and_hess(p, np.array([1]))[1], [[0, 16, 0]])


def test_uniform_logits():
    """log C, whatever the size of the logits."""
    for width in (2, 10, 1000):
        for level in (0.0, 1e3, -1e5):
            close(fl.cross_entropy(np.full((3, width), level), np.zeros(3, int)), LN(width))


def test_class_weights_and_their_mean():
    """Weights 1 and 3: (1 log 2 + 3 * 2 log 2) / (1 + 3) for indices, / 2 for one-hot targets."""
    logits = LN([[2.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    weight = np.array([1.0, 3.0, 7.0])
    close(fl.cross_entropy(logits, np.array([0, 1]), class_weight=weight), 7 / 4 * LOG2)
    one_hot = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    close(fl.cross_entropy(logits, one_hot, class_weight=weight), 7 / 2 * LOG2)
    rows = fl.cross_entropy(logits, np.array([0, 1]), class_weight=weight, reduction="none")
    close(rows, [LOG2, 6 * LOG2])
    both = fl.cross_entropy(
        logits, np.array([0, 1]), class_weight=weight, sample_weight=np.array([2.0, 1.0])
    )
    close(both, (2 * LOG2 + 6 * LOG2) / (2 + 3))


def test_label_smoothing_by_hand():
    """e = 0.3 over three classes: 0.8, 0.1, 0.1 of mass.

    Weighted, the two kinds of targets differ.
    """
    logits = LN([[2.0, 1.0, 1.0]])
    close(fl.cross_entropy(logits, np.array([0]), label_smoothing=0.3), 0.8 * LOG2 + 0.2 * 2 * LOG2)
    weight = np.array([1.0, 2.0, 4.0])
    weighted = fl.cross_entropy(
        logits, np.array([1]), label_smoothing=0.3, class_weight=weight, reduction="sum"
    )
    # (1-e) w_y nll + e/C sum_c w_c nll_c
    close(weighted, 0.7 * 2 * 2 * LOG2 + 0.1 * (1 + 2 * 2 + 4 * 2) * LOG2)


def test_z_loss_by_hand():
    """lse = log 4: the class weight does not multiply it, the sample weight does."""
    logits, lse = LN([[2.0, 1.0, 1.0]]), 2 * LOG2
    close(fl.cross_entropy(logits, np.array([0]), z_loss=0.5), LOG2 + 0.5 * lse**2)
    weight = np.array([3.0, 1.0, 1.0])
    close(
        fl.cross_entropy(logits, np.array([0]), z_loss=0.5, class_weight=weight, reduction="sum"),
        3 * LOG2 + 0.5 * lse**2,
    )
    close(
        fl.cross_entropy(logits, np.array([0]), z_loss=0.5, class_weight=weight),
        LOG2 + 0.5 * lse**2 / 3,
    )
    twice = fl.cross_entropy(
        logits, np.array([0]), z_loss=0.5, sample_weight=np.array([2.0]), reduction="sum"
    )
    close(twice, 2 * (LOG2 + 0.5 * lse**2))
    grad = grad_of(fl.cross_entropy, logits, np.array([0]), z_loss=0.5)
    close(grad, np.array([[0.5, 0.25, 0.25]]) * (1 + lse) - [[1, 0, 0]])


def test_scale_comes_before_cap():
    """z = c tanh(s x / c), not s c tanh(x / c)."""
    x = np.array([[1.0, 0.0]])
    z = 2.0 * np.tanh(3.0 / 2.0)
    loss, grad = fl.cross_entropy.value_and_grad(
        x, np.array([1]), logit_scale=3.0, logit_softcap=2.0
    )
    close(loss, np.log1p(np.exp(z)))
    p = 1 / (1 + np.exp(-z))
    close(grad, [[p * 3.0 * (1 - np.tanh(1.5) ** 2), -p * 3.0]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_class_axis_by_hand(axis):
    """A value that only the right axis gives."""
    p = np.moveaxis(np.broadcast_to([0.5, 0.25, 0.25], (3, 3, 3)), -1, axis)
    targets = np.zeros((3, 3), int)
    targets[0, 1] = 2
    rows = fl.cross_entropy(LN(p), targets, axis=axis, reduction="none")
    close(rows, np.where(targets == 2, 2 * LOG2, LOG2))
