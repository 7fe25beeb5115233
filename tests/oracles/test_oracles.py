"""The oracles are judged here, by torch, by mpmath and by differences, before they judge the
package.
"""

import numpy as np
import pytest

from tests.oracles import classes, differences, elementwise, precise
from tests.oracles.expected import reduce

RNG = np.random.default_rng(7)
N, C = 6, 5
LOGITS = 3 * RNG.standard_normal((N, C))
HARD = np.array([0, 4, 1, 1, 2, 3])
SOFT = RNG.dirichlet(np.ones(C), N)
WEIGHT = np.linspace(0.5, 2, C)


def against_torch(oracle, reference, predictions, targets, rtol=1e-12, **options):
    """Compare values and gradients under every reduction torch has."""
    torch = pytest.importorskip("torch")
    answer = oracle(predictions, targets, **options)
    for reduction in ("none", "sum", "mean"):
        x = torch.tensor(predictions, requires_grad=True)
        loss = reference(x, torch.tensor(targets), reduction)
        loss.sum().backward()
        ours = reduce(answer, reduction)
        np.testing.assert_allclose(
            ours.loss, loss.detach().numpy(), rtol=1e-13, atol=1e-14, err_msg=reduction
        )
        np.testing.assert_allclose(
            ours.grad, x.grad.numpy(), rtol=rtol, atol=1e-14, err_msg=reduction
        )


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("ignore", [-100, 1])
def test_cross_entropy_is_torchs(targets, weight, smoothing, ignore):
    torch = pytest.importorskip("torch")

    def reference(x, y, reduction):
        w = None if weight is None else torch.tensor(weight)
        skip = {} if y.is_floating_point() else {"ignore_index": ignore}
        return torch.nn.functional.cross_entropy(
            x, y, w, label_smoothing=smoothing, reduction=reduction, **skip
        )

    options = {"class_weight": weight, "label_smoothing": smoothing, "ignore_index": ignore}
    against_torch(classes.cross_entropy, reference, LOGITS, targets, **options)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_cross_entropy_on_axis_1_is_torchs(kind, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, C, 3, 4))
    y = (
        rng.integers(0, C, (2, 3, 4))
        if kind == "hard"
        else rng.dirichlet(np.ones(C), (2, 3, 4)).transpose(0, 3, 1, 2)
    )

    def reference(x, y, reduction):
        return torch.nn.functional.cross_entropy(x, y, reduction=reduction)

    against_torch(classes.cross_entropy, reference, x, np.ascontiguousarray(y), axis=1)


def test_mask_values_are_torchs():
    """-inf logits: values from torch; its gradients there too, where they are finite."""
    x = LOGITS.copy()
    x[:, 2] = -np.inf
    torch = pytest.importorskip("torch")
    ours = classes.cross_entropy(x, HARD)
    t = torch.tensor(x, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(t, torch.tensor(HARD), reduction="none")
    np.testing.assert_allclose(ours.loss, loss.detach().numpy())
    assert np.isinf(ours.loss[HARD == 2]).all()
    np.testing.assert_array_equal(ours.grad[:, 2], np.where(HARD == 2, -1.0, 0.0))


def test_binary_losses_are_torchs(rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    p, y, z = rng.uniform(size=(N, C)), rng.uniform(size=(N, C)), 5 * rng.standard_normal((N, C))
    p[0, :4], y[0, :4] = [0, 1, 0, 1], [0, 1, 1, 0]

    def plain(x, t, reduction):
        return functional.binary_cross_entropy(x, t, reduction=reduction)

    def logits(x, t, reduction):
        weight = torch.tensor(WEIGHT)
        return functional.binary_cross_entropy_with_logits(
            x, t, pos_weight=weight, reduction=reduction
        )

    def half_mse(x, t, reduction):
        return functional.mse_loss(x, t, reduction=reduction)

    # At p = 0 and 1 torch divides by 1e-12 rounded to float32.
    against_torch(elementwise.binary_cross_entropy, plain, p, y, rtol=5e-9)
    against_torch(elementwise.binary_cross_entropy_with_logits, logits, z, y, pos_weight=WEIGHT)
    against_torch(elementwise.mse, half_mse, z, y, half=False)


@pytest.mark.parametrize("cap", [None, 10.0])
@pytest.mark.parametrize("size", [1.0, 30.0, 1000.0])
def test_cross_entropy_is_mpmaths(size, cap, rng):
    x = size * rng.standard_normal((3, 50))
    y = rng.integers(0, 50, 3)
    ours = classes.cross_entropy(x, y, logit_scale=0.7, logit_softcap=cap, z_loss=0.1)
    for row in range(3):
        loss, grad = precise.cross_entropy_row(x[row], y[row], 0.7, cap, 0.1)
        assert abs(ours.loss[row] - loss) <= 8 * 2**-52 * ours.loss_scale[row]
        assert (np.abs(ours.grad[row] - grad) <= 8 * 2**-52 * ours.grad_scale[row]).all()


CLASS_LOSSES = {
    "plain": {},
    "melted": {"class_weight": WEIGHT, "label_smoothing": 0.2, "ignore_index": 1},
    "capped": {"logit_scale": 1.5, "logit_softcap": 4.0, "z_loss": 0.1},
}


@pytest.mark.parametrize("options", CLASS_LOSSES.values(), ids=CLASS_LOSSES)
@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
def test_cross_entropy_derivatives(targets, options):
    def f(x):
        return classes.cross_entropy(x, targets, **options)

    answer = f(LOGITS)
    np.testing.assert_allclose(
        answer.grad, differences.partial(lambda x: f(x).loss, LOGITS), atol=1e-9
    )
    np.testing.assert_allclose(
        answer.hess, differences.diagonal(lambda x: f(x).grad, LOGITS), atol=1e-9
    )


@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
def test_categorical_derivatives(targets):
    def f(p):
        return classes.categorical_cross_entropy(
            p, targets, class_weight=WEIGHT, label_smoothing=0.2
        )

    p = 0.1 + 0.9 * SOFT[::-1]
    answer = f(p)
    np.testing.assert_allclose(answer.grad, differences.partial(lambda x: f(x).loss, p), rtol=1e-7)
    np.testing.assert_allclose(answer.hess, differences.diagonal(lambda x: f(x).grad, p), rtol=1e-6)


ELEMENTWISE = {
    "mse": (elementwise.mse, {"half": True}),
    "mse-whole": (elementwise.mse, {"half": False}),
    "hinge": (elementwise.hinge, {"margin": 0.5}),
    "hinge-squared": (elementwise.hinge, {"squared": True}),
    "bce": (elementwise.binary_cross_entropy, {}),
    "logits": (
        elementwise.binary_cross_entropy_with_logits,
        {"pos_weight": 3.0, "label_smoothing": 0.2},
    ),
}


@pytest.mark.parametrize("oracle, options", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_elementwise_derivatives(oracle, options):
    # Off the hinges' kinks by more than the step, inside (0, 1) for probabilities.
    x = np.linspace(0.113, 0.887, 20)
    y = (
        np.where(np.arange(20) % 2, 1.0, -1.0)
        if oracle is elementwise.hinge
        else np.linspace(0, 1, 20)
    )
    answer = oracle(x, y, **options)
    first = differences.derivative(lambda p: oracle(p, y, **options).loss, x)
    second = differences.derivative(lambda p: oracle(p, y, **options).grad, x)
    np.testing.assert_allclose(answer.grad, first, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(answer.hess, second, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["exp", "log", "log1p", "expm1", "arctan", "tanh", "sigmoid", "softplus"]
)
def test_elementary_functions_are_numpys(name):
    """A slip in the mpmath table would make every ulp in tests/cpu meaningless."""
    formula = getattr(np, name, None) or getattr(elementwise, name)
    for x in (1e-300, 1e-9, 0.3, 0.9, 20.0):
        np.testing.assert_allclose(
            float(precise.function(name)(x)), formula(np.float64(x)), rtol=1e-15
        )
