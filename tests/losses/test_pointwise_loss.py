"""A user's own loss out of scalar functions gets everything the built-in ones have."""

import copy
import functools
import math
import pickle

import numpy as np
import pytest

import fastloss as fl
from fastloss.spec import Domain
from tests.checks import REDUCTIONS, grad_of
from tests.helpers import (
    BFLOAT16,
    FLOAT32,
    FLOAT64,
    LAYOUTS,
    assert_close,
    assert_same_bits,
    each,
    each_dtype,
    f64,
    loss_dtype,
    run_python,
    strided,
)
from tests.losses import own_losses
from tests.losses.own_losses import ABSOLUTE, FOCAL, GAMMA, HUBER, LOG_COSH, POISSON
from tests.oracles import differences
from tests.oracles.expected import Expected, reduce

SHAPE = (6, 5)


def draw(dtype=FLOAT64, shape=SHAPE):
    rng = np.random.default_rng(11)
    return (2 * rng.standard_normal(shape)).astype(dtype), (2 * rng.standard_normal(shape)).astype(
        dtype
    )


def log_cosh(p, y):
    """The truth, in NumPy."""
    d = f64(p) - f64(y)
    loss = np.abs(d) + np.log1p(np.exp(-2 * np.abs(d))) - np.log(2)
    ones = np.ones(d.shape)
    return Expected(loss, np.tanh(d), 1 - np.tanh(d) ** 2, 1 + np.abs(d), ones, ones, ones)


def huber(p, y, delta):
    d = p - y
    return np.where(np.abs(d) <= delta, d**2 / 2, delta * (np.abs(d) - delta / 2)), np.clip(
        d, -delta, delta
    )


@each_dtype
@each("reduction", REDUCTIONS)
def test_every_dtype_reduction_and_weight(dtype, reduction):
    p, y = draw(dtype)
    weight = np.linspace(0.5, 2, 5)
    expected = reduce(log_cosh(p, y), reduction, weight, 3.0)
    loss, grad = LOG_COSH.value_and_grad(
        p, y, reduction=reduction, sample_weight=weight, grad_output=3.0
    )
    assert loss.dtype == loss_dtype(dtype) and grad.dtype == dtype
    assert_close(loss, expected.loss, expected.loss_scale, dtype, ulps=6)
    assert_close(grad, expected.grad, expected.grad_scale, dtype, ulps=6)
    grad, hess = LOG_COSH.grad_and_hess(
        p, y, reduction=reduction, sample_weight=weight, grad_output=3.0
    )
    assert_close(grad, expected.grad, expected.grad_scale, dtype, ulps=6)
    assert_close(hess, expected.hess, expected.hess_scale, dtype, ulps=6)


@each("layout", LAYOUTS)
def test_every_layout_and_out(layout):
    p, y = draw(FLOAT32)
    expected = grad_of(LOG_COSH, p, y)
    np.testing.assert_array_equal(
        grad_of(LOG_COSH, LAYOUTS[layout](p), LAYOUTS[layout](y)), expected
    )
    out = strided(np.zeros_like(p))
    assert grad_of(LOG_COSH, p, y, out=out) is out
    np.testing.assert_array_equal(out, expected)
    grad_of(LOG_COSH, p, y, out=p)
    assert_same_bits(p, expected)


def test_large_enough_to_run_in_parallel():
    p, y = draw(FLOAT32, (700, 501))
    expected = reduce(log_cosh(p, y))
    loss, grad = LOG_COSH.value_and_grad(p, y)
    assert_close(loss, expected.loss, expected.loss_scale, FLOAT32)
    assert_close(grad, expected.grad, expected.grad_scale, FLOAT32, ulps=6)


def test_edges_come_with_it():
    p, y = draw()
    empty = p[:0]
    assert np.isnan(LOG_COSH(empty, empty)) and LOG_COSH(empty, empty, reduction="sum") == 0
    loss, grad = LOG_COSH.value_and_grad(p, y, sample_weight=0.0)
    assert np.isnan(loss) and not grad.any()
    p[2, 3] = np.nan
    weight = np.ones(SHAPE)
    weight[2, 3] = 0
    assert np.isfinite(LOG_COSH(p, y, sample_weight=weight))
    with pytest.raises(TypeError, match="temperature"):
        LOG_COSH(p, y, temperature=1.0)
    with pytest.raises(ValueError, match="shape"):
        LOG_COSH(p, y[:, :1])
    with pytest.raises(TypeError, match="int64"):
        LOG_COSH(np.zeros(3, int), np.zeros(3))


def test_parameter_with_its_default_from_the_signature():
    p, y = draw()
    for options, delta in (({}, 1.0), ({"delta": 0.25}, 0.25), ({"delta": 3}, 3.0)):
        loss, grad = HUBER.value_and_grad(p, y, reduction="none", **options)
        expected = huber(p, y, delta)
        np.testing.assert_allclose(loss, expected[0], rtol=1e-14)
        np.testing.assert_allclose(grad, expected[1], rtol=1e-14)


@each("shape", [(5,), (6, 1), (6, 5), ()])
def test_parameter_per_element(shape):
    """Arrays broadcast against the predictions."""
    p, y = draw()
    delta = np.random.default_rng(0).uniform(0.2, 3, shape)
    loss, grad = HUBER.value_and_grad(p, y, delta=delta, reduction="none")
    expected = huber(p, y, delta)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-14)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-14)


def test_parameter_that_does_not_broadcast():
    p, y = draw()
    with pytest.raises(ValueError, match="delta") as caught:
        HUBER(p, y, delta=np.ones(4))
    assert "(4,)" in str(caught.value) and "(6, 5)" in str(caught.value)
    with pytest.raises(TypeError, match="delta"):
        HUBER(p, y, delta="wide")


@each("dtype", [FLOAT32, FLOAT64])
def test_two_parameters_with_defaults_given_as_pairs(dtype):
    """Focal loss in log space: no 0 * inf where kornia and optax had nan."""
    z = np.array([-200, -30, -1, 0, 1, 30, 200], dtype)
    for y in (np.zeros_like(z), np.ones_like(z)):
        for options in ({}, {"gamma": 0.5}, {"gamma": 0.0, "alpha": 0.5}):
            loss, grad = FOCAL.value_and_grad(z, y, reduction="none", **options)
            assert np.isfinite(loss).all() and np.isfinite(grad).all()
    plain = FOCAL(z, np.ones_like(z), gamma=0.0, alpha=1.0, reduction="none")
    bce = fl.binary_cross_entropy_with_logits(z, np.ones_like(z), reduction="none")
    np.testing.assert_allclose(plain, bce, rtol=1e-6, atol=1e-12)
    quarter = FOCAL(np.zeros(1, dtype), np.ones(1, dtype))
    np.testing.assert_allclose(quarter, 0.25 * 0.25 * np.log(2), rtol=1e-6)


@each("loss", [LOG_COSH.name, HUBER.name, POISSON.name, FOCAL.name, GAMMA.name])
def test_gradients_of_these_tests_own_losses(loss):
    """The example losses are right themselves, so the tests above test the package."""
    own = {a.name: a for a in (LOG_COSH, HUBER, POISSON, FOCAL, GAMMA)}[loss]
    p = np.linspace(0.3, 2.7, 12) + 0.013
    y = np.arange(12.0) % 2
    slope = differences.derivative(lambda x: own(x, y, reduction="none"), p)
    np.testing.assert_allclose(grad_of(own, p, y, reduction="none"), slope, rtol=1e-6, atol=1e-9)


def test_absolute_error_at_its_tie():
    """The subgradient at 0 is 0, and a branch in the formula keeps nan."""
    p, y = np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 2.0, 2.0, 2.0])
    loss, grad = ABSOLUTE.value_and_grad(p, y, reduction="none")
    np.testing.assert_array_equal(loss, [1, 0, 1, np.nan])
    np.testing.assert_array_equal(grad, [-1, 0, 1, np.nan])


def test_without_hessian():
    """Asking for a curvature that was not given says so."""
    p, y = draw()
    with pytest.raises((TypeError, ValueError, NotImplementedError), match="hess") as caught:
        HUBER.grad_and_hess(p, y)
    assert "huber" in str(caught.value)


def test_two_losses_of_one_name_do_not_mix():
    """Neither in memory nor in the cache on disk."""
    one = fl.pointwise_loss("twin", lambda p, y: p - y, lambda p, y: 1.0 + 0.0 * p)
    two = fl.pointwise_loss("twin", lambda p, y: y - p, lambda p, y: -1.0 + 0.0 * p)
    p, y = np.array([3.0, 5.0]), np.array([1.0, 1.0])
    assert one(p, y) == 3 and two(p, y) == -3 and one(p, y) == 3
    assert (
        grad_of(one, p, y, reduction="sum")[0] == 1 and grad_of(two, p, y, reduction="sum")[0] == -1
    )


def test_closure_over_a_number():
    """The value at the time of definition, also for two losses from one factory."""

    def scaled(k):
        return fl.pointwise_loss("scaled", lambda p, y: k * (p - y), lambda p, y: k + 0.0 * p)

    two, three = scaled(2.0), scaled(3.0)
    p, y = np.array([1.0]), np.array([0.0])
    assert (two(p, y), three(p, y), two(p, y)) == (2, 3, 2)


def test_functions_of_no_module():
    """Code run by `exec`, as doctest does, belongs to no module."""

    def value(p, y):
        return 2.0 * (p - y)

    def grad(p, y):
        return 2.0 + 0.0 * p

    value.__module__ = grad.__module__ = None
    loss = fl.pointwise_loss("homeless", value, grad)
    assert loss(np.array([1.0]), np.array([0.0])) == 2.0


def test_pickled_and_copied():
    """By the functions it was made of, as joblib sends it to other processes."""
    pickled = pickle.dumps(HUBER)
    assert pickle.loads(pickled) is copy.copy(HUBER) is copy.deepcopy(HUBER) is HUBER
    there = run_python(f"""
        import pickle
        import numpy as np
        loss = pickle.loads({pickled!r})
        assert loss is pickle.loads({pickled!r})
        print(loss.name, loss(np.array([5.0]), np.zeros(1), delta=2.0))
        """)
    assert there.stdout.split() == ["huber", "8.0"]
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(fl.pointwise_loss("x", lambda p, y: p - y, lambda p, y: 1.0))


def test_what_makes_one_loss():
    """The same functions and arguments; defaults that are equal are not therefore the same."""
    make = functools.partial(fl.pointwise_loss, "one", own_losses.huber, own_losses.huber_grad)
    assert make(params=("delta",)) is make(params=["delta"])
    ones = {make(params={"delta": one}) for one in (1, 1.0, True)}
    ones |= {make(params=("delta",)), make(params=("delta",), doc="Huber's.")}
    ones |= {make(own_losses.huber_grad, params=("delta",))}
    assert len(ones) == 6


def test_name_and_documentation():
    assert LOG_COSH.name == "log_cosh"
    assert "log cosh(p - y)" in LOG_COSH.__doc__
    assert "log_cosh" in repr(LOG_COSH)


def test_bad_definitions():
    """Refused when the loss is made, not when it is first called."""
    with pytest.raises(TypeError, match="value"):
        fl.pointwise_loss("x", "p - y", lambda p, y: 1.0)
    with pytest.raises(TypeError, match="name"):
        fl.pointwise_loss(None, lambda p, y: p - y, lambda p, y: 1.0)
    with pytest.raises(TypeError, match="delta"):
        fl.pointwise_loss("x", lambda p, y, delta: p - y, lambda p, y: 1.0, params=("delta",))
    with pytest.raises(TypeError, match=r"domain must be a fastloss.spec.Domain, not <function"):
        fl.pointwise_loss("x", lambda p, y: p - y, lambda p, y: 1.0, domain=own_losses.huber)
    for default in (np.ones(2), None, "1", np.nan):
        with pytest.raises((TypeError, ValueError), match="x: the default of 's' must be a finite"):
            fl.pointwise_loss("x", lambda p, y, s: p, lambda p, y, s: p, params={"s": default})
    for taken in ("reduction", "out", "self"):
        with pytest.raises(TypeError, match=f"'{taken}' is an argument of every loss"):
            fl.pointwise_loss("x", lambda p, y, s: p, lambda p, y, s: p, params={taken: 1.0})
    with pytest.raises(TypeError, match="'s' more than once"):
        fl.pointwise_loss("x", lambda p, y, s, r: p, lambda p, y, s, r: p, params=[("s", 1.0)] * 2)


def raises(p, y):
    if p > 3:
        raise ValueError("too large")
    return p


@pytest.mark.parametrize(
    "role, formula, reason",
    [
        ("value", lambda p, y: undefined(p) - y, "name 'undefined' is not defined"),  # noqa: F821
        ("grad", lambda p, y: "far" if p > y else y, "unify"),
        ("grad", lambda p, y: (p, y), "returns UniTuple"),
        ("value", lambda p, y: (p - y) * 1j, "returns complex"),
        ("hess", lambda p, y: None, "returns none"),
        ("value", raises, "may raise"),
        ("grad", lambda p, y: (1.0, 2.0)[int(y)] * p, "may raise"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_formulas_that_are_none(role, formula, reason, dtype):
    """The error names the loss and the formula, says why, and nothing of our kernels."""
    formulas = {key: lambda p, y: p - y for key in ("value", "grad", "hess")} | {role: formula}
    loss = fl.pointwise_loss("odd", **formulas)
    x = np.ones(3, dtype)
    real = "float64" if dtype == np.float64 else "float32"
    for _ in range(2):
        with pytest.raises(TypeError, match=f"^odd: {role} is not .* {real}.*{reason}") as caught:
            (loss.grad_and_hess if role == "hess" else loss.value_and_grad)(x, x)
        assert "tile" not in str(caught.value)


def test_formulas_that_are_no_functions_written_in_python():
    class Callable:
        def __call__(self, p, y):
            return p - y

    for odd in (Callable(), Callable().__call__, max, math.hypot, functools.partial(raises)):
        with pytest.raises(TypeError, match="odd: value must be a function written in Python"):
            fl.pointwise_loss("odd", odd, lambda p, y: 1.0)


def test_a_domain_that_does_not_compile():
    domain = Domain(lambda p, y, tolerance: undefined(y), "anything")  # noqa: F821
    loss = fl.pointwise_loss("odd", lambda p, y: p - y, lambda p, y: 1.0, domain=domain)
    out = np.zeros(3000)
    for options in ({}, {"out": out}):
        with pytest.raises(TypeError, match=r"^odd: the domain's valid .*'undefined'"):
            loss.value_and_grad(np.ones(3000), np.ones(3000), **options)
    assert not out.any()


def test_parameters_in_another_order_than_the_functions():
    """They are given by position: under swapped names values would be swapped silently."""

    def named(p, y, a=1.0, b=2.0):
        return a + 10 * b

    def other_names(p, y, first, second):
        return first + 10 * second

    with pytest.raises(TypeError, match=r"value takes .*\('a', 'b'\), but params has \('b', 'a'\)"):
        fl.pointwise_loss("x", named, named, params=("b", "a"))
    with pytest.raises(TypeError, match=r"grad takes .*\('a', 'b'\)"):
        fl.pointwise_loss("x", other_names, named, params={"b": 2.0, "a": 1.0})
    loss = fl.pointwise_loss("x", named, other_names, params=("a", "b"))
    assert float(loss(np.ones(1), np.zeros(1), b=3.0)) == 31.0


@each("dtype", [FLOAT32, BFLOAT16])
def test_numbers_in_a_formula_do_not_widen_the_result(dtype):
    """A literal 0.5 is a float64 for Numba; the gradient still comes in the predictions' dtype."""
    p, y = draw(dtype)
    loss, grad = POISSON.value_and_grad(p, y)
    assert loss.dtype == np.float32 and grad.dtype == dtype
