"""Each loss beside the library whose convention its docstring names, in float64."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import fastloss as fl
from tests.helpers import each

torch = pytest.importorskip("torch")
functional = torch.nn.functional


@dataclass(frozen=True)
class Peer:
    """A library's loss: (predictions, targets) -> (loss of each element, gradient)."""

    name: str
    of: str
    evaluate: object
    predictions: str = "real"
    targets: str = "real"
    options: dict = field(default_factory=dict)

    def __str__(self):
        options = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.name}({options})-{self.of}"


def torchs(function, **options):
    """A loss of torch.nn.functional."""

    def evaluate(p, t):
        x = torch.tensor(p, requires_grad=True)
        loss = function(x, torch.tensor(t), reduction="none", **options)
        loss.sum().backward()
        return loss.detach().numpy(), x.grad.numpy()

    return evaluate


def optaxs(name, **options):
    """An element-wise loss of optax."""

    def evaluate(p, t):
        jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
        with jax.enable_x64(True):
            function = getattr(optax.losses, name)
            x, y = jax.numpy.asarray(p), jax.numpy.asarray(t)
            loss = function(x, y, **options)
            grad = jax.grad(lambda x: function(x, y, **options).sum())(x)
            return np.asarray(loss), np.asarray(grad)

    return evaluate


def optax_poly(epsilon):
    """poly_loss_cross_entropy on the two classes (0, z)."""

    def evaluate(z, t):
        jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
        with jax.enable_x64(True):
            labels = jax.numpy.stack([1 - jax.numpy.asarray(t), jax.numpy.asarray(t)], -1)

            def losses(z):
                logits = jax.numpy.stack([jax.numpy.zeros_like(z), z], -1)
                return optax.losses.poly_loss_cross_entropy(logits, labels, epsilon=epsilon)

            x = jax.numpy.asarray(z)
            grad = jax.grad(lambda x: losses(x).sum())(x)
            return np.asarray(losses(x)), np.asarray(grad)

    return evaluate


def sklearns(name, half_score=False, **options):
    """A loss of scikit-learn's linear models and boosters, which knows its gradient."""

    def evaluate(p, t):
        module = pytest.importorskip("sklearn._loss.loss")
        loss = getattr(module, name)(**options)
        y = (t + 1) / 2 if half_score else t
        value, gradient = loss.loss_gradient(y, p)
        return value, gradient

    return evaluate


def sgd(name, *options):
    """A loss of scikit-learn's SGDClassifier."""

    def evaluate(p, t):
        module = pytest.importorskip("sklearn.linear_model._sgd_fast")
        loss = getattr(module, name)(*options)
        pairs = list(zip(p.ravel().tolist(), t.ravel().tolist(), strict=True))
        value = [loss.py_loss(a, b) for a, b in pairs]
        gradient = [loss.py_dloss(a, b) for a, b in pairs]
        return np.array(value), np.array(gradient)

    return evaluate


def pinball(tau):
    """scikit-learn's mean_pinball_loss, one element at a time; no gradient."""

    def evaluate(p, t):
        metrics = pytest.importorskip("sklearn.metrics")
        return [
            metrics.mean_pinball_loss([b], [a], alpha=tau) for a, b in zip(p, t, strict=True)
        ], None

    return evaluate


def squared_log_error(p, t):
    """scikit-learn's mean_squared_log_error, one element at a time; no gradient."""
    metrics = pytest.importorskip("sklearn.metrics")
    return [metrics.mean_squared_log_error([b], [a]) for a, b in zip(p, t, strict=True)], None


PEERS = [
    Peer("mae", "torch", torchs(functional.l1_loss)),
    Peer("huber", "torch", torchs(functional.huber_loss, delta=0.7), options={"delta": 0.7}),
    Peer("huber", "optax", optaxs("huber_loss", delta=2.0), options={"delta": 2.0}),
    Peer("smooth_l1", "torch", torchs(functional.smooth_l1_loss, beta=0.3), options={"beta": 0.3}),
    Peer("smooth_l1", "torch", torchs(functional.smooth_l1_loss, beta=0.0), options={"beta": 0.0}),
    Peer("log_cosh", "optax", optaxs("log_cosh")),
    Peer("quantile", "sklearn", pinball(0.9), options={"tau": 0.9}),
    Peer("quantile", "sklearn", sklearns("PinballLoss", quantile=0.2), options={"tau": 0.2}),
    Peer("msle", "sklearn", squared_log_error, "positive", "counts"),
    Peer("poisson_nll", "torch", torchs(functional.poisson_nll_loss), targets="counts"),
    Peer("poisson_nll", "sklearn", sklearns("HalfPoissonLoss"), targets="counts"),
    Peer(
        "poisson_nll", "torch", torchs(functional.poisson_nll_loss, full=True, log_input=False),
        "positive", "counts", {"full": True, "log_input": False},
    ),
    Peer(
        "gaussian_nll", "torch",
        lambda p, t: torchs(functional.gaussian_nll_loss, var=0.3, full=True)(p, t),
        options={"var": 0.3, "full": True},
    ),
    Peer("gamma_nll", "sklearn", sklearns("HalfGammaLoss"), targets="positive"),
    Peer(
        "tweedie_nll", "sklearn", sklearns("HalfTweedieLoss", power=1.3), targets="counts",
        options={"power": 1.3},
    ),
    Peer("soft_margin", "torch", torchs(functional.soft_margin_loss), targets="signs"),
    Peer(
        "margin_ranking", "torch",
        torchs(
            lambda x, y, **call: functional.margin_ranking_loss(x, torch.zeros_like(x), y, **call),
            margin=0.3,
        ),
        targets="signs", options={"margin": 0.3},
    ),
    Peer("squared_hinge", "sklearn", sgd("SquaredHinge", 1.0), targets="signs"),
    Peer("modified_huber", "sklearn", sgd("ModifiedHuber"), targets="signs"),
    Peer("perceptron", "optax", optaxs("perceptron_loss"), targets="signs"),
    Peer(
        "focal", "optax", optaxs("sigmoid_focal_loss", alpha=0.7, gamma=1.5), targets="unit",
        options={"alpha": 0.7, "gamma": 1.5},
    ),
    Peer(
        "focal", "optax", optaxs("sigmoid_focal_loss"), targets="bits", options={"alpha": None},
    ),
    Peer("poly", "optax", optax_poly(1.5), targets="unit", options={"epsilon": 1.5}),
]  # fmt: skip

DRAWS = {
    "real": lambda rng, n: 4 * rng.standard_normal(n),
    "positive": lambda rng, n: rng.uniform(0.1, 8, n),
    "counts": lambda rng, n: rng.integers(0, 7, n).astype(float),
    "signs": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "bits": lambda rng, n: rng.integers(0, 2, n).astype(float),
    "unit": lambda rng, n: rng.uniform(0, 1, n),
}


@each("peer", PEERS)
def test_agrees_with_its_peer(peer, rng):
    p, t = DRAWS[peer.predictions](rng, 500), DRAWS[peer.targets](rng, 500)
    loss, grad = getattr(fl, peer.name).value_and_grad(p, t, reduction="none", **peer.options)
    expected, slope = peer.evaluate(p, t)
    np.testing.assert_allclose(loss, expected, rtol=1e-12, atol=1e-13)
    if slope is not None:
        np.testing.assert_allclose(grad, slope, rtol=1e-11, atol=1e-13)


def test_exponential_is_adaboosts_at_twice_the_score(rng):
    """scikit-learn takes labels 0 and 1, and a score that is half of ours."""
    p, t = DRAWS["real"](rng, 500), DRAWS["signs"](rng, 500)
    expected, slope = sklearns("ExponentialLoss", half_score=True)(p, t)
    loss, grad = fl.exponential.value_and_grad(p, t, reduction="none")
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    np.testing.assert_allclose(grad, slope, rtol=1e-13)


def test_ties():
    """Where there is no derivative, the one that the docstrings promise."""
    one = np.ones(1)
    tie = {"mae": 0.0, "quantile": 0.0, "log_cosh": 0.0, "charbonnier": 0.0}
    for name, expected in tie.items():
        assert getattr(fl, name).grad(one, one) == expected, name
    assert fl.quantile.grad(one, one, tau=0.25, right_derivative=True) == 0.75
    assert fl.perceptron.grad(np.zeros(1), one) == 0
    assert fl.margin_ranking.grad(one, one, other=1.0) == 0
    assert fl.squared_hinge.grad(one, one) == 0
    assert fl.modified_huber.grad(one, one) == 0
    assert fl.modified_huber.grad(-one, one) == -4
    assert fl.huber.grad_and_hess(2 * one, one)[1] == 1
    assert fl.smooth_l1.grad_and_hess(2 * one, one)[1] == 0
