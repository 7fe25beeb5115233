"""Losses of the probability of the target class, other than cross-entropy.

From logits z, in the names used throughout: m is their maximum, e_y = exp(z_y - m), rest the
sum of the other exponentials, p = e_y / (e_y + rest) the target's probability and u = 1 - p
what is left. u is rest / (e_y + rest): 1 - p would lose all digits of a confident p. A loss f(p)
has the derivatives by z_c, with B = p f'(p), K = p dB/dp and d_c = [c == y] - p_c,

    B d_c    and    K d_c^2 - B p_c (1 - p_c).
"""

from __future__ import annotations

from fastloss.checks import number, per_class
from fastloss.elementary import const, divide, exp, exp_normal, expm1, inline, log, log1p
from fastloss.loss import Loss, register
from fastloss.losses.classification import AXIS, CLASS_WEIGHT, IGNORE_INDEX, INDICES_DOC, LOGITS_DOC
from fastloss.losses.describe import INDEX_ERRORS, OF_CLASSES
from fastloss.spec import Derived, Formula, Option, Reduction, Role, Round, RowSpec, SeparableSpec

__all__ = ["focal_cross_entropy", "generalized_cross_entropy", "nll"]

# --- log-probabilities ------------------------------------------------------------------


def nll_value(z):
    return -z


def nll_grad(z):
    return const(-1.0, z)


def nll_hess(z):
    return const(0.0, z)


nll = register(
    Loss(
        SeparableSpec(
            "nll",
            (CLASS_WEIGHT, IGNORE_INDEX, AXIS),
            vectors=False,
            value=nll_value,
            grad=nll_grad,
            hess=nll_hess,
        ),
        rf"""
        Negative log-likelihood of log-probabilities.

        .. math:: \ell(\log q, y) = -\log q_y

        The gradient is -1 at the target and 0 elsewhere, whatever the predictions are, and the
        hessian 0.

        Parameters
        ----------
        predictions : array of shape (N, C), (N, T, C), (N, C, H, W), ...
            Log-probabilities log q, of dtype float64, float32, float16 or bfloat16, taken as
            given and not renormalised; the classes lie on `axis`.
        {INDICES_DOC}
        class_weight : array of shape (C,), optional
            Multiplies the loss of an example by the weight of its class; ``"mean"`` divides by
            the sum of these weights.
        {OF_CLASSES}

        {INDEX_ERRORS}

        See Also
        --------
        cross_entropy : from logits, in one step.

        Notes
        -----
        Source: PyTorch's ``nll_loss``. Only the target's own prediction is looked at: a nan
        beside it does not show.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> logp = np.log(np.array([[0.5, 0.5], [0.25, 0.75]]))
        >>> fl.nll(logp, np.array([0, 1]), reduction="none").round(6).tolist()
        [0.693147, 0.287682]
        """,
    )
)


# --- what focal loss and generalised cross-entropy share --------------------------------
# Their rows: (classes, z_y, m, rest, loss, 1 / (e_y + rest), u, B, p, and for focal loss K u).


def logit(z, t, c, row, *options):
    return z


def other_exponential(z, t, c, row, *options):
    e = exp_normal(z - row[2])
    return e if t == const(0.0, t) else const(0.0, z)


@inline
def of_target(row):
    """(log p, p, u) of the target, each with all its digits."""
    z_y, m, rest = row[1], row[2], row[3]
    shifted = z_y - m
    e = exp_normal(shifted)
    total = e + rest
    # Where the target has the maximum, log(1 + rest) keeps what 1 + rest would round away.
    spread = log1p(rest) if shifted == const(0.0, m) else log(total)
    p = divide(e, total)
    return shifted - spread, p, divide(rest, total)


def share_of_one(row, *options):
    """1 / (e_y + rest)."""
    return divide(const(1.0, row[2]), exp_normal(row[1] - row[2]) + row[3])


def left(row, *options):
    """u."""
    return of_target(row)[2]


def probability(row, *options):
    """p."""
    return of_target(row)[1]


def loss_of(row, *options):
    return row[4]


@inline
def distance(z, t, row):
    """d_c = [c == y] - p_c."""
    other = -exp_normal(z - row[2]) * row[5]
    return other if t == const(0.0, t) else row[6]


@inline
def spread_curvature(z, t, row):
    """p_c (1 - p_c)."""
    p_c = exp_normal(z - row[2]) * row[5]
    return p_c * (const(1.0, z) - p_c) if t == const(0.0, t) else row[8] * row[6]


def slope_by_distance(z, t, c, row, *options):
    """B d_c."""
    return row[7] * distance(z, t, row)


_DERIVATIVES: tuple[Role, ...] = ("grad", "hess")


def _rounds(loss: Formula, slope: Formula, *more: Derived) -> tuple[Round, ...]:
    """Return the rounds of a loss with these formulas of its row."""
    return (
        Round((Reduction("max", logit),)),
        Round((Reduction("sum", other_exponential),)),
        Round(
            (
                Derived(loss, ("value",)),
                Derived(share_of_one, _DERIVATIVES),
                Derived(left, _DERIVATIVES),
                Derived(slope, _DERIVATIVES),
                Derived(probability, ("hess",)),
                *more,
            )
        ),
    )


# --- focal loss -------------------------------------------------------------------------


@inline
def focus(u, gamma):
    """u^gamma."""
    one = const(1.0, u)
    return exp(gamma * log(u)) if gamma != const(0.0, u) else one + const(0.0, u) * u


@inline
def log_by_rest(log_p, u):
    """log(p) / (1 - p), which is -1 in the limit p = 1."""
    return divide(log_p, u) if u != const(0.0, u) else -const(1.0, u)


@inline
def times_log(p, x):
    """p x, where x goes to infinity no faster than log(p): 0 for p = 0."""
    return p * x if p != const(0.0, p) else p


def focal_loss(row, gamma, alpha):
    log_p, _, u = of_target(row)
    return -alpha * (focus(u, gamma) * log_p)


def focal_slope(row, gamma, alpha):
    log_p, p, u = of_target(row)
    bracket = gamma * times_log(p, log_by_rest(log_p, u)) - const(1.0, p)
    return alpha * (focus(u, gamma) * bracket)


def focal_bend(row, gamma, alpha):
    log_p, p, u = of_target(row)
    one = const(1.0, u)
    bend = times_log(p, log_p + const(2.0, u) - (gamma - one) * p * log_by_rest(log_p, u))
    return alpha * (gamma * focus(u, gamma) * bend)


def focal_hess(z, t, c, row, gamma, alpha):
    u = row[6]
    # K d^2 = (K u) d (d / u): d is at most u in size.
    d = distance(z, t, row)
    share = divide(d, u) if u != const(0.0, u) else const(0.0, u)
    return row[9] * share * d - row[7] * spread_curvature(z, t, row)


focal_cross_entropy = register(
    Loss(
        RowSpec(
            "focal_cross_entropy",
            (
                Option("gamma", 2.0, number(0.0)),
                Option("alpha", 1.0, per_class(0.0)),
                IGNORE_INDEX,
                AXIS,
            ),
            vectors=False,
            counts_class_weight=False,
            rounds=_rounds(focal_loss, focal_slope, Derived(focal_bend, ("hess",))),
            value=loss_of,
            grad=slope_by_distance,
            hess=focal_hess,
        ),
        rf"""
        Focal loss over classes, from logits.

        .. math:: \ell(z, y) = -\alpha (1 - p_y)^\gamma \log p_y, \quad p = \mathrm{{softmax}}(z)

        The gradient at class c is
        alpha (1 - p_y)^gamma (gamma p_y log(p_y) / (1 - p_y) - 1) ([c = y] - p_c). The hessian may
        be negative.

        Parameters
        ----------
        {LOGITS_DOC}
        {INDICES_DOC}
        gamma : float >= 0, default 2.0
            The larger, the less examples count that are classified well; with 0 and alpha = 1
            the loss is `cross_entropy`.
        alpha : number or array of shape (C,), default 1.0
            Multiplies the loss; of an array, by the entry of the target. ``"mean"`` divides by
            the number of examples all the same.
        {OF_CLASSES}

        {INDEX_ERRORS}

        Notes
        -----
        Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017), with a softmax
        in place of the sigmoid; as Keras' ``CategoricalFocalCrossentropy``, whose default alpha
        is 0.25. Computed in log space: finite for every gamma and every finite logit. A row of
        only -inf, with a +inf or a nan, is nan.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> logits = np.array([[0.0, 0.0], [4.0, 0.0]])
        >>> fl.focal_cross_entropy(logits, np.array([0, 0]), reduction="none").round(6).tolist()
        [0.173287, 6e-06]
        """,
    )
)


# --- generalised cross-entropy ----------------------------------------------------------


def generalized_loss(row, q):
    log_p, _, _ = of_target(row)
    return divide(-expm1(q * log_p), q)


def generalized_slope(row, q):
    log_p, _, _ = of_target(row)
    return -exp(q * log_p)


def generalized_hess(z, t, c, row, q):
    d = distance(z, t, row)
    return row[7] * (q * d * d - spread_curvature(z, t, row))


generalized_cross_entropy = register(
    Loss(
        RowSpec(
            "generalized_cross_entropy",
            (Option("q", 0.7, number(above=0.0, high=1.0)), IGNORE_INDEX, AXIS),
            vectors=False,
            rounds=_rounds(generalized_loss, generalized_slope),
            value=loss_of,
            grad=slope_by_distance,
            hess=generalized_hess,
        ),
        rf"""
        Generalised cross-entropy over classes, from logits.

        .. math:: \ell(z, y) = (1 - p_y^q) / q, \quad p = \mathrm{{softmax}}(z)

        The gradient is p_y^q times that of `cross_entropy`. The hessian may be negative.

        Parameters
        ----------
        {LOGITS_DOC}
        {INDICES_DOC}
        q : float in (0, 1], default 0.7
            The larger, the less the loss follows labels that are wrong: it goes to
            `cross_entropy` for q towards 0, and is half the absolute error of the probabilities,
            1 - p_y, for q = 1.
        {OF_CLASSES}

        {INDEX_ERRORS}

        Notes
        -----
        Source: Z. Zhang and M. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural
        Networks with Noisy Labels (2018). A row of only -inf, with a +inf or a nan, is nan.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> logits = np.array([[0.0, 0.0]])
        >>> float(fl.generalized_cross_entropy(logits, np.array([1]), q=1.0))
        0.5
        """,
    )
)
