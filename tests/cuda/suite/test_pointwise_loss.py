"""A loss of the user's own has on the device what the built-in ones have."""

import numpy as np
import pytest

import fastloss as fl
import fastloss.jit as flj
from tests.cuda.device import DeviceLoss, needs_gpu
from tests.helpers import EPS, TINY, each_dtype, f64, working_eps

pytestmark = needs_gpu


def value(p, t, delta=1.0, scale=1.0):
    error = abs(p - t)
    inner = flj.const(0.5, p) * error * error
    return scale * (inner if error <= delta else delta * (error - flj.const(0.5, p) * delta))


def grad(p, t, delta=1.0, scale=1.0):
    error = p - t
    return scale * (error if abs(error) <= delta else (delta if error > 0 else -delta))


HUBER = fl.pointwise_loss("huber", value, grad, params=("delta", "scale"))


@each_dtype
def test_against_the_formula(dtype):
    rng = np.random.default_rng(0)
    p = rng.standard_normal((4, 9)).astype(dtype)
    t = rng.standard_normal((4, 9)).astype(dtype)
    error = f64(p) - f64(t)
    computed = 8 * working_eps(dtype)
    stored = {"rtol": computed + EPS[dtype], "atol": TINY[dtype]}
    scales = np.linspace(0.5, 2, 9)
    for delta, scale in ((1.0, 1.0), (0.5, 1.0), (1.0, scales)):
        size = np.abs(error)
        losses = scale * np.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))
        slopes = scale * np.clip(error, -delta, delta)
        options = {"delta": delta, "scale": scale}
        loss, got = DeviceLoss(HUBER).value_and_grad(p, t, reduction="none", **options)
        np.testing.assert_allclose(loss, losses, rtol=computed)
        np.testing.assert_allclose(f64(got), slopes, **stored)
        loss, got = DeviceLoss(HUBER).value_and_grad(p, t, **options)
        np.testing.assert_allclose(loss, losses.mean(), rtol=computed)
        np.testing.assert_allclose(f64(got), slopes / p.size, **stored)


def test_without_a_hessian():
    with pytest.raises(TypeError, match="hess"):
        DeviceLoss(HUBER).grad_and_hess(np.zeros(3), np.zeros(3))
