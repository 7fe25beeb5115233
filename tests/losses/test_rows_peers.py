"""The losses made of formulas over a row beside their peers, and beside mpmath where no peer has
the digits.
"""

import mpmath as mp
import numpy as np
import pytest

import fastloss as fl
from tests.helpers import each

torch = pytest.importorskip("torch")
F = torch.nn.functional

N, C = 12, 7
Y = np.arange(N) % C
WEIGHT = np.linspace(0.5, 2.0, C)
REDUCTIONS = ("none", "sum", "mean")


def scores(size, seed=0):
    return size * np.random.default_rng(seed).standard_normal((N, C))


def distributions(size, seed=1):
    e = np.exp(scores(size, seed) - scores(size, seed).max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def with_autograd(function, x, *args):
    x = torch.from_numpy(x).requires_grad_()
    loss = function(x, *args)
    (grad,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach().numpy(), grad.numpy()


def assert_agree(ours, theirs, rtol=1e-12, atol=1e-13):
    np.testing.assert_allclose(ours[0], theirs[0], rtol=rtol, atol=atol)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=rtol, atol=atol)


# --- PyTorch ----------------------------------------------------------------------------


@each("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_nll(size, reduction):
    """Class weights divide the mean, and ignored examples are left out of it."""
    x, y = log_softmax(scores(size)), Y.copy()
    y[3] = 2
    theirs = with_autograd(
        lambda x: F.nll_loss(
            x, torch.from_numpy(y), torch.from_numpy(WEIGHT), ignore_index=2, reduction=reduction
        ),
        x,
    )
    options = {"class_weight": WEIGHT, "ignore_index": 2, "reduction": reduction}
    assert_agree(fl.nll.value_and_grad(x, y, **options), theirs)


@each("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_multilabel_soft_margin(size, reduction):
    x, labels = scores(size), (scores(1.0, 5) > 0).astype(float)
    theirs = with_autograd(
        lambda x: F.multilabel_soft_margin_loss(x, torch.from_numpy(labels), reduction=reduction), x
    )
    ours = fl.multilabel_soft_margin.value_and_grad(x, labels, reduction=reduction)
    assert_agree(ours, theirs)


@each("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", [1.0, 1e4])
@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin(p, size, reduction):
    """Divided by C; class weights multiply, but do not divide the mean."""
    x = scores(size)
    theirs = with_autograd(
        lambda x: F.multi_margin_loss(
            x, torch.from_numpy(Y), p, 0.5, torch.from_numpy(WEIGHT), reduction=reduction
        ),
        x,
    )
    options = {"p": p, "margin": 0.5, "class_weight": WEIGHT, "reduction": reduction}
    assert_agree(fl.multi_margin.value_and_grad(x, Y, **options), theirs)


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_kl_divergence_is_batchmean(size, log_target):
    x, p = log_softmax(scores(size)), distributions(2.0)
    t = np.log(p) if log_target else p
    theirs = with_autograd(
        lambda x: F.kl_div(x, torch.from_numpy(t), reduction="batchmean", log_target=log_target), x
    )
    assert_agree(fl.kl_divergence.value_and_grad(x, t, log_target=log_target), theirs)


def gkd(student, teacher, beta):
    """TRL's `generalized_jsd_loss` on log-probabilities, one value per example."""

    def kl(input, target):
        return F.kl_div(input, target, reduction="none", log_target=True).sum(1)

    if beta == 0:
        return kl(student, teacher)
    if beta == 1:
        return kl(teacher, student)
    both = torch.stack([student + np.log1p(-beta), teacher + np.log(beta)])
    mixture = torch.logsumexp(both, 0)
    return beta * kl(mixture, teacher) + (1 - beta) * kl(mixture, student)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_js_divergence_is_that_of_gkd(size, beta):
    x, t = log_softmax(scores(size)), log_softmax(scores(size, 5))
    theirs = with_autograd(gkd, x, torch.from_numpy(t), beta)
    call = {"beta": beta, "log_target": True, "reduction": "none"}
    assert_agree(fl.js_divergence.value_and_grad(x, t, **call), theirs, rtol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("size", [1.0, 5.0])
def test_focal_cross_entropy(size, gamma):
    def focal(x):
        log_p = x.log_softmax(1).gather(1, torch.from_numpy(Y)[:, None])[:, 0]
        return -torch.from_numpy(WEIGHT)[Y] * (1 - log_p.exp()) ** gamma * log_p

    x = scores(size)
    call = {"gamma": gamma, "alpha": WEIGHT, "reduction": "none"}
    ours = fl.focal_cross_entropy.value_and_grad(x, Y, **call)
    assert_agree(ours, with_autograd(focal, x), rtol=1e-9, atol=1e-11)


def test_focal_cross_entropy_with_gamma_0_is_cross_entropy():
    x = scores(20.0)
    ours = fl.focal_cross_entropy.value_and_grad(x, Y, gamma=0.0, reduction="none")
    assert_agree(ours, fl.cross_entropy.value_and_grad(x, Y, reduction="none"))


@pytest.mark.parametrize("q", [0.01, 0.7, 1.0])
@pytest.mark.parametrize("size", [1.0, 5.0])
def test_generalized_cross_entropy(size, q):
    def generalized(x):
        p = x.softmax(1).gather(1, torch.from_numpy(Y)[:, None])[:, 0]
        return (1 - p**q) / q

    x = scores(size)
    ours = fl.generalized_cross_entropy.value_and_grad(x, Y, q=q, reduction="none")
    assert_agree(ours, with_autograd(generalized, x), rtol=1e-9, atol=1e-11)


# --- optax ------------------------------------------------------------------------------


@pytest.fixture
def optax():
    """Optax, in float64."""
    jax = pytest.importorskip("jax")
    library = pytest.importorskip("optax")
    with jax.enable_x64(True):
        yield library


def with_jax(function, x, *args):
    import jax

    loss, pull = jax.vjp(lambda x: function(x, *args), jax.numpy.asarray(x))
    (grad,) = pull(jax.numpy.ones_like(loss))
    return np.asarray(loss), np.asarray(grad)


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_multiclass_hinge(optax, size):
    x = scores(size)
    ours = fl.multiclass_hinge.value_and_grad(x, Y, reduction="none")
    # 1 + z - z loses what large scores have no digits for.
    assert_agree(ours, with_jax(optax.losses.multiclass_hinge_loss, x, Y), atol=size * 1e-15)


@pytest.mark.parametrize("size", [0.1, 1.0, 100.0])
def test_sparsemax(optax, size):
    x = scores(size)
    ours = fl.sparsemax.value_and_grad(x, Y, reduction="none")
    theirs = with_jax(optax.losses.multiclass_sparsemax_loss, x, Y)
    assert_agree(ours, theirs, rtol=1e-11, atol=1e-13 * max(size, 1.0) ** 2)


@pytest.mark.parametrize("epsilon", [0.0, 3.0])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_cosine_distance(optax, size, epsilon):
    x, t = scores(size), scores(2.0, 9)
    theirs = with_jax(lambda x: optax.losses.cosine_distance(x, t, epsilon=epsilon), x)
    ours = fl.cosine_distance.value_and_grad(x, t, epsilon=epsilon, reduction="none")
    assert_agree(ours, theirs, atol=1e-14 * max(1.0, 1 / size))


# --- mpmath -----------------------------------------------------------------------------


def target_probability(row, y):
    e = [mp.exp(mp.mpf(float(v)) - mp.mpf(float(max(row)))) for v in row]
    return e[y] / mp.fsum(e)


@pytest.mark.parametrize("gap", [-600.0, -40.0, 0.0, 10.0, 40.0, 600.0])
def test_focal_and_generalized_keep_every_digit(gap):
    """Also of a target so sure, or so wrong, that 1 - p or p is rounded away."""
    row = np.array([0.0, gap, -1.0, 0.5])
    with mp.workdps(700):
        p = target_probability(row, 1)
        focal = float(-((1 - p) ** mp.mpf(0.5)) * mp.log(p))
        generalized = float((1 - p ** mp.mpf(0.25)) / mp.mpf(0.25))
        rest = 1 - p
        slope = (mp.mpf(0.5) * p * mp.log(p) / rest - 1) * rest ** mp.mpf(0.5)
        expected = [float(slope * rest), float(-(p ** mp.mpf(0.25)) * rest)]
    x, y = row[None], np.array([1])
    none = {"reduction": "none"}  # kernels that other tests compile as well
    loss, grad = fl.focal_cross_entropy.value_and_grad(x, y, gamma=0.5, **none)
    np.testing.assert_allclose([loss[0], grad[0, 1]], [focal, expected[0]], rtol=1e-13)
    loss, grad = fl.generalized_cross_entropy.value_and_grad(x, y, q=0.25, **none)
    np.testing.assert_allclose([loss[0], grad[0, 1]], [generalized, expected[1]], rtol=1e-13)


@pytest.mark.parametrize("step", [1e-1, 1e-4, 1e-7])
def test_js_divergence_of_almost_equal_distributions(step):
    """It is of second order in the difference: the terms cancel but for a square of it."""
    q = np.log(np.array([[0.25, 0.75]]))
    p = np.exp(q) * np.array([[1 + 3 * step, 1 - step]])
    with mp.workdps(60):
        total = mp.mpf(0)
        for a, log_b in zip(p[0], q[0], strict=True):
            a, b = mp.mpf(float(a)), mp.exp(mp.mpf(float(log_b)))
            m = (a + b) / 2
            total += (a * mp.log(a / m) + b * mp.log(b / m)) / 2
        expected = float(total)
    eps = 2.0**-52
    loss, _ = fl.js_divergence.value_and_grad(q, p, reduction="none")
    np.testing.assert_allclose(loss, expected, rtol=8 * eps / step)
