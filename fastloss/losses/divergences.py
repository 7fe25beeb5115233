"""Losses between two vectors over the classes: distributions, or directions."""

from __future__ import annotations

from fastloss.checks import flag, number
from fastloss.elementary import const, divide, exp, inline, log, maximum, sqrt
from fastloss.loss import Loss, register
from fastloss.losses.class_margins import no_curvature
from fastloss.losses.classification import AXIS
from fastloss.losses.describe import CLASS_ERRORS, OF_CLASSES
from fastloss.spec import Derived, Option, Reduction, Round, RowSpec

__all__ = ["cosine_distance", "js_divergence", "kl_divergence"]

LOG_TARGET = Option("log_target", False, flag)

_LOG_PROBABILITIES_DOC = """predictions : array of shape (N, C), (N, T, C), (N, C, H, W), ...
            Log-probabilities log q, of dtype float64, float32, float16 or bfloat16, taken as
            given and not renormalised; the classes lie on `axis`. -inf is probability 0.
        targets : array of the predictions' shape, float64, float32, float16 or bfloat16
            Probabilities p, or with `log_target` their logarithms."""


@inline
def target_pair(t, log_target):
    """(p, log p) of a target."""
    return (exp(t), t) if log_target else (t, log(t))


@inline
def product(p, x):
    """p x with 0 * inf = 0: without probability nothing is lost."""
    return p * x if p != const(0.0, p) else p


# --- Kullback-Leibler -------------------------------------------------------------------


@inline
def kl_term(z, t, c, row, log_target):
    p, log_p = target_pair(t, log_target)
    return product(p, log_p - z)


def kl_value(row, log_target):
    return row[2]


@inline
def kl_grad(z, t, c, row, log_target):
    p, _ = target_pair(t, log_target)
    return -p


kl_divergence = register(
    Loss(
        RowSpec(
            "kl_divergence",
            (LOG_TARGET, AXIS),
            indices=False,
            rounds=(Round((Reduction("sum", kl_term, ("value",)),)),),
            value=kl_value,
            grad=kl_grad,
            hess=no_curvature,
        ),
        rf"""
        Kullback-Leibler divergence of log-probabilities from probabilities.

        .. math:: \ell(\log q, p) = \sum_c p_c (\log p_c - \log q_c)

        The predictions are log q, so the gradient is -p and the hessian 0. An example is a
        whole distribution: ``"mean"`` is what PyTorch calls ``"batchmean"``.

        Parameters
        ----------
        {_LOG_PROBABILITIES_DOC}
        log_target : bool, default False
            Whether the targets are log p.
        {OF_CLASSES}

        {CLASS_ERRORS}

        See Also
        --------
        js_divergence : symmetric for beta = 0.5, and finite also where q is 0.

        Notes
        -----
        Sources: PyTorch's ``kl_div``, summed over the classes; optax's ``kl_divergence`` and
        ``kl_divergence_with_log_targets``. A class with p = 0 adds 0 whatever q is, where
        PyTorch has 0 * inf = nan. p > 0 with q = 0 gives inf, p < 0 gives nan.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> q, p = np.array([[0.5, 0.25, 0.25]]), np.array([[0.5, 0.5, 0.0]])
        >>> round(float(fl.kl_divergence(np.log(q), p)), 6)
        0.346574
        """,
    )
)


# --- Jensen-Shannon ---------------------------------------------------------------------


@inline
def log_quotient(a, b, difference):
    """log(a / b), with all digits also where it is near 0; `difference` is a - b."""
    one = const(1.0, a)
    ratio = divide(a, b)
    # What the rounding of the quotient took away matters near 1 alone.
    lost = divide(difference, b) - (ratio - one)
    near = abs(ratio - one) < const(0.5, a)
    return log(ratio) + (lost if near else const(0.0, a))


@inline
def mixture(z, t, beta, log_target):
    """(p, q, m, log(p / m), log(q / m)) with m = beta p + (1 - beta) q."""
    e, q = exp(t), exp(z)
    p = e if log_target else t
    m = beta * p + (const(1.0, z) - beta) * q
    gap = p - q
    of_p = log_quotient(p, m, (const(1.0, z) - beta) * gap)
    of_q = log_quotient(q, m, -beta * gap)
    # At the dtype's end m is rounded to 0, and the terms with it.
    nothing = m == const(0.0, z)
    return p, q, m, m if nothing else of_p, m if nothing else of_q


# The ends come first, in branches of their own: LLVM then makes a loop of each, none of which
# computes what only another needs.


def js_term(z, t, c, row, beta, log_target):
    if beta == const(0.0, beta):
        return kl_term(z, t, c, row, log_target)
    if beta == const(1.0, beta):
        _, log_p = target_pair(t, log_target)
        return product(exp(z), z - log_p)
    p, q, _, of_p, of_q = mixture(z, t, beta, log_target)
    return beta * product(p, of_p) + (const(1.0, z) - beta) * product(q, of_q)


def js_value(row, beta, log_target):
    return row[2]


def js_grad(z, t, c, row, beta, log_target):
    one = const(1.0, z)
    if beta == const(0.0, beta):
        return kl_grad(z, t, c, row, log_target)
    if beta == one:
        _, log_p = target_pair(t, log_target)
        return product(exp(z), z - log_p + one)
    _, q, _, _, of_q = mixture(z, t, beta, log_target)
    return (one - beta) * product(q, of_q)


def js_hess(z, t, c, row, beta, log_target):
    one = const(1.0, z)
    if beta == const(0.0, beta):
        return const(0.0, z)
    if beta == one:
        _, log_p = target_pair(t, log_target)
        return product(exp(z), z - log_p + const(2.0, z))
    p, q, m, _, of_q = mixture(z, t, beta, log_target)
    share = divide(beta * p, m) if m != const(0.0, z) else m
    return (one - beta) * product(q, of_q + share)


js_divergence = register(
    Loss(
        RowSpec(
            "js_divergence",
            (Option("beta", 0.5, number(0.0, 1.0)), LOG_TARGET, AXIS),
            indices=False,
            rounds=(Round((Reduction("sum", js_term, ("value",)),)),),
            value=js_value,
            grad=js_grad,
            hess=js_hess,
        ),
        rf"""
        Jensen-Shannon divergence between log-probabilities and probabilities.

        .. math:: \ell(\log q, p) = \beta \mathrm{{KL}}(p \| m) + (1 - \beta) \mathrm{{KL}}(q \| m)

        m = beta p + (1 - beta) q is the mixture. The predictions are log q, so the gradient is
        (1 - beta) q log(q / m). For beta = 0 and 1, where that is 0, the loss is the limit of the
        formula divided by beta or 1 - beta: KL(p | q) for beta = 0, KL(q | p) for beta = 1.

        Parameters
        ----------
        {_LOG_PROBABILITIES_DOC}
        beta : float in [0, 1], default 0.5
            The weight of the targets in the mixture.
        log_target : bool, default False
            Whether the targets are log p.
        {OF_CLASSES}

        {CLASS_ERRORS}

        Notes
        -----
        Source: R. Agarwal et al., On-Policy Distillation of Language Models (2024), the
        generalised divergence of GKD; as TRL's ``generalized_jsd_loss``, of which q is the
        student and p the teacher. beta = 0.5 is the Jensen-Shannon divergence in nats. It
        keeps its digits where p and q are almost equal. Where p or q is 0 its term is 0.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> q, p = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
        >>> with np.errstate(divide="ignore"):
        ...     loss = fl.js_divergence(np.log(q), p)
        >>> round(float(loss), 6)
        0.693147
        """,
    )
)


# --- cosine -----------------------------------------------------------------------------
# Squares are those of entries by the largest of their vector: they neither overflow nor vanish.


def size_of_prediction(z, t, c, row, epsilon):
    return abs(z)


def size_of_target(z, t, c, row, epsilon):
    return abs(t)


@inline
def part(x, largest):
    """`x` by the largest entry of its vector, which may be 0."""
    return divide(x, largest) if largest != const(0.0, largest) else largest


def square_of_prediction(z, t, c, row, epsilon):
    x = part(z, row[2])
    return x * x


def square_of_target(z, t, c, row, epsilon):
    y = part(t, row[3])
    return y * y


def product_of_both(z, t, c, row, epsilon):
    return part(z, row[2]) * part(t, row[3])


@inline
def length_of_prediction(row, epsilon):
    """The length of the predictions, at least sqrt(epsilon)."""
    return maximum(row[2] * sqrt(row[4]), sqrt(epsilon))


@inline
def length_of_target(row, epsilon):
    return maximum(row[3] * sqrt(row[5]), sqrt(epsilon))


def cosine_of(row, epsilon):
    of_z = divide(row[2], length_of_prediction(row, epsilon))
    return of_z * divide(row[3], length_of_target(row, epsilon)) * row[6]


def cosine_value(row, epsilon):
    return const(1.0, row[9]) - row[9]


def freedom(row, epsilon):
    """1, or 0 where the length of the predictions is held at its least."""
    one = const(1.0, epsilon)
    return one if not row[2] * sqrt(row[4]) < sqrt(epsilon) else const(0.0, epsilon)


def cosine_grad(z, t, c, row, epsilon):
    length_z, length_t, cosine = row[7], row[8], row[9]
    held = row[10] * cosine * divide(z, length_z)
    return divide(held - divide(t, length_t), length_z)


def cosine_hess(z, t, c, row, epsilon):
    length_z, length_t, cosine = row[7], row[8], row[9]
    x, y = divide(z, length_z), divide(t, length_t)
    three = const(3.0, z)
    bend = (x * y + x * y) + cosine - three * cosine * x * x
    return row[10] * divide(divide(bend, length_z), length_z)


cosine_distance = register(
    Loss(
        RowSpec(
            "cosine_distance",
            (Option("epsilon", 0.0, number(0.0)), AXIS),
            indices=False,
            rounds=(
                Round((Reduction("max", size_of_prediction), Reduction("max", size_of_target))),
                Round(
                    (
                        Reduction("sum", square_of_prediction),
                        Reduction("sum", square_of_target),
                        Reduction("sum", product_of_both),
                    )
                ),
                Round(
                    (
                        Derived(length_of_prediction),
                        Derived(length_of_target),
                        Derived(cosine_of),
                        Derived(freedom, ("grad", "hess")),
                    )
                ),
            ),
            value=cosine_value,
            grad=cosine_grad,
            hess=cosine_hess,
        ),
        rf"""
        Cosine distance between two vectors, from 0 to 2.

        .. math:: \ell(z, y) = 1 - \frac{{z \cdot y}}{{|z| |y|}}

        With the lengths a and b of z and y, u = z / a and v = y / b, the gradient is
        ((u v) u - v) / a, where u v is the cosine. The hessian may be negative.

        Parameters
        ----------
        predictions : array of shape (N, C), (N, T, C), (N, C, H, W), ...
            Vectors, of dtype float64, float32, float16 or bfloat16, whose entries lie on `axis`.
        targets : array of the predictions' shape, float64, float32, float16 or bfloat16
            Vectors.
        epsilon : float >= 0, default 0.0
            The least that the squared length of a vector counts for.
        {OF_CLASSES}

        {CLASS_ERRORS}

        Notes
        -----
        Source: optax's ``cosine_distance``, where, too, `epsilon` bounds the squares (PyTorch's
        ``cosine_similarity`` bounds the lengths, by 1e-8). A vector of zeros has no direction:
        nan, unless epsilon > 0. The squares of
        lengths may leave the range of the dtype.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> z, y = np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])
        >>> round(float(fl.cosine_distance(z, y)), 6)
        0.04
        """,
    )
)
