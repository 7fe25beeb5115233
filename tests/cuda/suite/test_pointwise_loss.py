"""A loss of the user's own has on the device what the built-in ones have."""

import numpy as np
import pytest

import fastloss as fl
import fastloss.jit as flj
from tests.cuda.device import DeviceLoss, needs_gpu
from tests.helpers import each_dtype, f64

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
def test_like_on_the_cpu(dtype):
    rng = np.random.default_rng(0)
    p = rng.standard_normal((4, 9)).astype(dtype)
    t = rng.standard_normal((4, 9)).astype(dtype)
    for options in ({}, {"delta": 0.5}, {"scale": np.linspace(0.5, 2, 9).astype(np.float32)}):
        for reduction in ("mean", "none"):
            loss, got = DeviceLoss(HUBER).value_and_grad(p, t, reduction=reduction, **options)
            expected, expected_grad = HUBER.value_and_grad(p, t, reduction=reduction, **options)
            np.testing.assert_allclose(loss, expected, rtol=1e-5)
            np.testing.assert_allclose(f64(got), f64(expected_grad), rtol=1e-2, atol=1e-6)


def test_without_a_hessian():
    with pytest.raises(TypeError, match="hess"):
        DeviceLoss(HUBER).grad_and_hess(np.zeros(3), np.zeros(3))
