"""fastloss.jit: the scalar building blocks inside a user's own @njit code."""

import numpy as np
import pytest
from numba import njit, prange

import fastloss as fl
import fastloss.jit as fj
from tests.catalogue import LISTED, LOSSES
from tests.helpers import FLOAT32, FLOAT64, assert_close, each, run_python

ELEMENTWISE = [loss for loss in LOSSES if not loss.over_classes]


def positional(loss):
    """Options of the loss, and all of its parameters in the order of the formulas."""
    given = list(loss.options.values())[-1]
    spec = getattr(fl, loss.name).spec
    return given, tuple(o.check("", given.get(o.name, o.default)) for o in spec.options)


@njit
def over_rows(x):
    """log-sum-exp of each row of a matrix."""
    out = np.empty(x.shape[0], x.dtype)
    for i in range(x.shape[0]):
        out[i] = fj.logsumexp(x[i])
    return out


@njit(parallel=True)
def in_parallel(x):
    """The functions are callable from a parallel loop."""
    out = np.empty_like(x)
    for i in prange(x.size):
        out[i] = fj.softplus(x[i]) + fj.sigmoid(x[i]) * fj.exp(
            fj.log(fj.log1p(fj.expm1(fj.tanh(x[i])) + 2))
        )
    return out


@pytest.mark.parametrize("loss", ELEMENTWISE, ids=lambda loss: loss.name)
def test_value_grad_and_hess_of_each_elementwise_loss(loss):
    """Options by position, after prediction and target, in the order of the documentation."""
    value, grad, hess = (getattr(fj, f"{loss.name}_{part}") for part in ("value", "grad", "hess"))
    options, values = positional(loss)

    @njit
    def use(p, y):
        out = np.empty((3, p.size))
        for i in range(p.size):
            out[0, i] = value(p[i], y[i], *values)
            out[1, i] = grad(p[i], y[i], *values)
            out[2, i] = hess(p[i], y[i], *values)
        return out

    rng = np.random.default_rng(3)
    p = loss.predictions(rng, (50,))
    y = next(iter(loss.targets.values()))(rng, (50,)).astype(float)
    expected = loss.oracle(p, y, **options)
    got = use(p, y)
    assert_close(got[0], expected.loss, expected.loss_scale, FLOAT64)
    assert_close(got[1], expected.grad, expected.grad_scale, FLOAT64)
    assert_close(got[2], expected.hess, expected.hess_scale, FLOAT64)


@pytest.mark.parametrize("loss", ELEMENTWISE, ids=lambda loss: loss.name)
def test_default_options_beside_float32(loss):
    """A default is a float64 to Numba: the two must get along."""
    value, grad, hess = (getattr(fj, f"{loss.name}_{part}") for part in ("value", "grad", "hess"))

    @njit
    def use(p, y):
        return value(p, y), grad(p, y), hess(p, y)

    expected = loss.oracle(np.array([0.5]), np.array([1.0]))
    got = use(np.float32(0.5), np.float32(1.0))
    for a, b in zip(got, (expected.loss, expected.grad, expected.hess), strict=True):
        np.testing.assert_allclose(a, b[0], rtol=1e-6)


@pytest.mark.parametrize("loss", ELEMENTWISE, ids=lambda loss: loss.name)
def test_the_same_functions_in_plain_python(loss):
    """Without Numba: for a debugger, and for reading."""
    rng = np.random.default_rng(3)
    p = loss.predictions(rng, (5,))
    y = next(iter(loss.targets.values()))(rng, (5,)).astype(float)
    options, values = positional(loss)
    expected = loss.oracle(p, y, **options)
    got = [
        getattr(fj, f"{loss.name}_value")(float(a), float(b), *values)
        for a, b in zip(p, y, strict=True)
    ]
    assert_close(np.array(got), expected.loss, expected.loss_scale, FLOAT64)


@each("dtype", [FLOAT64, FLOAT32])
def test_logsumexp(dtype):
    x = (5 * np.random.default_rng(0).standard_normal((6, 300))).astype(dtype)
    x[1] += 1000
    x[2] -= 1000
    x[3, :150] = -np.inf
    wide = x.astype(np.float64)
    top = wide.max(1)
    expected = top + np.log(np.exp(wide - top[:, None]).sum(1))
    assert_close(over_rows(x), expected, 1 + np.abs(expected), dtype)


def test_logsumexp_edges():
    inf, nan = np.inf, np.nan
    got = over_rows(np.array([[-inf, -inf], [nan, 0], [0, nan], [-inf, 3], [710, 710]]))
    np.testing.assert_allclose(got[3:], [3, 710 + np.log(2)], rtol=1e-15)
    assert np.isnan(got[1:3]).all()
    assert got[0] == -inf or np.isnan(got[0])


def test_logsumexp_of_a_strided_row():
    x = np.arange(40.0).reshape(5, 8).T
    np.testing.assert_allclose(over_rows(x), np.log(np.exp(x - 40).sum(1)) + 40, rtol=1e-14)


def test_inside_a_parallel_loop():
    x = np.linspace(-3, 3, 1001)
    expected = np.log1p(np.exp(x)) + np.log1p(np.expm1(np.tanh(x)) + 2) / (1 + np.exp(-x))
    np.testing.assert_allclose(in_parallel(x), expected, rtol=1e-14)


@njit(fastmath=True)
def with_fast_math(x):
    """The exponentials of three functions, in code that may round as it likes."""
    out = np.empty((3, x.size), x.dtype)
    for i in range(x.size):
        out[0, i] = fj.exp(x[i])
        out[1, i] = fj.expm1(x[i])
        out[2, i] = fj.softplus(x[i])
    return out


@each("dtype", [FLOAT64, FLOAT32])
def test_in_code_with_fast_math(dtype):
    """Whose flags must not take the rounding out of the functions."""
    x = np.linspace(-5, 5, 101).astype(dtype)
    exact = x.astype(np.float64)
    expected = np.stack([np.exp(exact), np.expm1(exact), np.logaddexp(0, exact)])
    assert_close(with_fast_math(x), expected, abs(expected), dtype, ulps=2)


@each("before", ["", "fl.mse(np.ones(1), np.ones(1))"])
def test_imported_by_what_is_compiled(before):
    """`fl.jit` needs no import of its own, and Numba is the first to ask for it."""
    program = f"""
        import numpy as np, fastloss as fl
        from numba import njit
        {before}
        print(njit(lambda p: fl.jit.mse_value(p, 1.0) + fl.jit.tanh(p))(0.0))
        """
    assert run_python(program).stdout == "0.5\n"


def test_everything_offered_is_listed():
    """dir() and __all__ tell what there is."""
    expected = {
        "softplus",
        "sigmoid",
        "logsumexp",
        "exp",
        "log",
        "log1p",
        "expm1",
        "tanh",
        "arctan",
    }
    classes = {loss.name for loss in LOSSES if loss.over_classes}
    expected |= {
        f"{name}_{part}" for name in LISTED - classes for part in ("value", "grad", "hess")
    }
    assert expected <= set(fj.__all__)
    assert all(hasattr(fj, name) for name in fj.__all__)


def test_type_checkers_know_the_formulas_of_the_losses(tmp_path):
    """They are made in a loop, which no type checker follows."""
    mypy = pytest.importorskip("mypy.api")
    program = tmp_path / "program.py"
    program.write_text("import fastloss.jit as fj\n\nfj.mse_value(1.0, 2.0)\n")
    alone = ["--config-file=", "--follow-imports=skip", "--ignore-missing-imports"]
    said, errors, status = mypy.run(
        [fl.__file__, fj.__file__, str(program), *alone, f"--cache-dir={tmp_path / 'cache'}"]
    )
    assert status == 0, said + errors
