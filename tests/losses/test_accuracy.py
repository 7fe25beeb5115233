"""Errors against float64 are no larger than torch's on the same float32 input.

Where torch is as good as exact, one float32 ulp of the largest value is allowed. Beside the
largest error, the target's gradient and the others are compared on their own: an error of the
size of a probability would vanish beside the -1.
"""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME
from tests.helpers import BFLOAT16, EPS, FLOAT16, FLOAT32, each, f64
from tests.oracles import classes, elementwise, precise

torch = pytest.importorskip("torch")
functional = torch.nn.functional

CLASSES = (10, 1000, 32_000, 128_256)
SIZES = (1, 30, 1000)


def logits_of(width, size, count=None):
    """A few rows of normal logits, scaled.

    Every other target is the largest logit, as late in training.
    """
    rng = np.random.default_rng([width, size])
    count = count or (64 if width <= 1000 else 6)
    x = (size * rng.standard_normal((count, width))).astype(np.float32)
    y = rng.integers(0, width, count)
    y[::2] = x[::2].argmax(1)
    return x, y


def error(ours, expected):
    """The largest absolute error, over finite values; the non-finite ones must agree."""
    ours = f64(ours)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(ours[~finite], expected[~finite])
    return np.abs(ours[finite] - expected[finite]).max(initial=0.0)


def no_worse(ours, torchs, expected, what, spare=0.0):
    """Our error is torch's, or one float32 ulp of the largest value, and `spare` ulps more."""
    ulp = np.spacing(np.float32(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    mine, its = error(ours, expected), error(torchs, expected)
    assert mine <= max(its, ulp) + spare * ulp, (
        f"{what}: error {mine:.3g}, torch's {its:.3g}, one ulp {ulp:.3g}"
    )


def typical_error(ours, expected):
    """The root of the mean square of the errors."""
    return np.sqrt(np.mean((ours - expected) ** 2))


def torchs(function, x, y, **options):
    """torch's loss per example and the gradient of their sum."""
    t = torch.tensor(x, requires_grad=True)
    loss = function(t, torch.tensor(y), reduction="none", **options)
    loss.sum().backward()
    return loss.detach().numpy(), t.grad.numpy()


def compare_rows(x, y, expected, ours, its):
    no_worse(ours[0], its[0], expected.loss, "loss")
    if y.ndim == 1:
        at = np.arange(x.shape[1]) == y[:, None]
        no_worse(ours[1][at], its[1][at], expected.grad[at], "gradient at the target")
        no_worse(ours[1][~at], its[1][~at], expected.grad[~at], "gradient elsewhere")
    else:
        # One rounding: who is luckier with the order of the sum of a row depends on the CPU.
        no_worse(ours[1], its[1], expected.grad, "gradient", spare=0.5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", CLASSES)
def test_cross_entropy(width, size):
    x, y = logits_of(width, size)
    ours = fl.cross_entropy.value_and_grad(x, y, reduction="none")
    compare_rows(x, y, classes.cross_entropy(x, y), ours, torchs(functional.cross_entropy, x, y))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", CLASSES)
def test_cross_entropy_mean(width, size):
    """The mean, and the gradient as it goes into training."""
    x, y = logits_of(width, size)
    expected = classes.cross_entropy(x, y)
    loss, grad = fl.cross_entropy.value_and_grad(x, y)
    t = torch.tensor(x, requires_grad=True)
    mean = functional.cross_entropy(t, torch.tensor(y))
    mean.backward()
    no_worse(loss, mean.detach().numpy(), expected.loss.mean(), "mean loss")
    no_worse(grad, t.grad.numpy(), expected.grad / len(y), "gradient of the mean")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", CLASSES)
def test_cross_entropy_with_smoothing_and_soft_targets(width, size):
    x, y = logits_of(width, size)
    expected = classes.cross_entropy(x, y, label_smoothing=0.1)
    ours = fl.cross_entropy.value_and_grad(x, y, reduction="none", label_smoothing=0.1)
    compare_rows(x, y, expected, ours, torchs(functional.cross_entropy, x, y, label_smoothing=0.1))
    soft = np.random.default_rng(0).dirichlet(np.ones(width), len(x)).astype(np.float32)
    ours = fl.cross_entropy.value_and_grad(x, soft, reduction="none")
    compare_rows(
        x, soft, classes.cross_entropy(x, soft), ours, torchs(functional.cross_entropy, x, soft)
    )


@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy_on_images(size):
    """The class axis in the middle takes another path through memory, not another accuracy."""
    rng = np.random.default_rng(size)
    x = (size * rng.standard_normal((2, 21, 16, 16))).astype(np.float32)
    y = rng.integers(0, 21, (2, 16, 16))
    expected = classes.cross_entropy(x, y, axis=1)
    loss, grad = fl.cross_entropy.value_and_grad(x, y, axis=1, reduction="none")
    torch_loss, torch_grad = torchs(functional.cross_entropy, x, y)
    no_worse(loss, torch_loss, expected.loss, "loss")
    no_worse(grad, torch_grad, expected.grad, "gradient")


@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy_against_mpmath(size):
    """Ten classes at 60 digits.

    Confident rows have losses of 1e-30, where float64 itself has lost them.
    """
    x, y = logits_of(10, size)
    scale = classes.cross_entropy(x, y).grad_scale
    loss, grad = fl.cross_entropy.value_and_grad(x, y, reduction="none")
    for i in range(len(y)):
        exact, exact_grad = precise.cross_entropy_row(x[i], y[i])
        assert abs(loss[i] - exact) <= 2 * EPS[FLOAT32] * max(exact, 1.0)
        # The scale of a probability is the probability: tiny ones are right to their own last bits.
        assert (np.abs(grad[i] - exact_grad) <= 4 * EPS[FLOAT32] * scale[i] + 1e-38).all()


@each("dtype", [FLOAT16, BFLOAT16])
@pytest.mark.parametrize("width", [10, 32_000])
def test_narrow_dtypes_lose_nothing(width, dtype):
    """The loss comes in float32 and as accurate as from float32 logits.

    The gradient is rounded once.
    """
    x, y = logits_of(width, 1)
    narrow = x.astype(dtype)
    wide = narrow.astype(np.float32)
    expected = classes.cross_entropy(wide, y)
    loss, grad = fl.cross_entropy.value_and_grad(narrow, y, reduction="none")
    no_worse(loss, torchs(functional.cross_entropy, wide, y)[0], expected.loss, "loss")
    tiny = 2.0**-24 if dtype == FLOAT16 else 0.0
    bound = (0.5 * EPS[dtype] + 4 * EPS[FLOAT32]) * np.abs(expected.grad) + 0.51 * tiny + 1e-38
    assert (np.abs(f64(grad) - expected.grad) <= bound).all()


ELEMENTWISE = {
    "binary_cross_entropy": (functional.binary_cross_entropy, elementwise.binary_cross_entropy, {}),
    "binary_cross_entropy_with_logits": (
        functional.binary_cross_entropy_with_logits,
        elementwise.binary_cross_entropy_with_logits,
        {},
    ),
    "mse": (functional.mse_loss, elementwise.mse, {"half": False}),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, size):
    """100,000 elements each: for probabilities the size spreads them towards 0 and 1.

    Our errors are typically smaller than torch's; whose largest one is smaller is chance.
    """
    function, oracle, options = ELEMENTWISE[name]
    rng = np.random.default_rng(size)
    x = (size * rng.standard_normal(100_000)).astype(np.float32)
    for y in (rng.uniform(size=x.shape), rng.integers(0, 2, x.shape)):
        y = y.astype(np.float32)
        if name == "binary_cross_entropy":
            x = elementwise.sigmoid(np.clip(x.astype(np.float64), -15, 15)).astype(np.float32)
        expected = oracle(x.astype(np.float64), y.astype(np.float64), **options)
        loss, grad = getattr(fl, name).value_and_grad(x, y, reduction="none", **options)
        its_loss, its_grad = torchs(function, x, y)
        pairs = (loss, its_loss, expected.loss), (grad, its_grad, expected.grad)
        for ours, its, exact in pairs:
            no_worse(ours, its, exact, name, spare=0.1)
            assert typical_error(ours, exact) <= 1.001 * typical_error(its, exact), name


def test_categorical_on_small_probabilities(rng):
    """The relative error of a log near 0 and near 1, where no torch function can be asked."""
    p = np.concatenate(
        [10.0 ** rng.uniform(-37, -1, 500), 1 - 10.0 ** rng.uniform(-7, -1, 500)]
    ).astype(np.float32)
    predictions = np.stack([p, 1 - p], 1)
    targets = np.zeros(1000, int)
    case = BY_NAME["categorical_cross_entropy-hard-plain"]
    expected = case.expected(predictions, targets)
    loss, grad = fl.categorical_cross_entropy.value_and_grad(predictions, targets, reduction="none")
    np.testing.assert_allclose(loss, expected.loss, rtol=EPS[FLOAT32])
    np.testing.assert_allclose(grad, expected.grad, rtol=EPS[FLOAT32])
