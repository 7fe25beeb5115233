"""Losses of a score and a label of -1 or +1: functions of the margin, label times score."""

from __future__ import annotations

from fastloss.checks import flag, number
from fastloss.elementary import choose, const, exp, inline, maximum, sigmoid, softplus
from fastloss.loss import register
from fastloss.losses.describe import CALL, ERRORS, SIGN_ERRORS
from fastloss.losses.pieces import inside_margin
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Domain, Option

__all__ = [
    "exponential", "hinge", "modified_huber", "perceptron", "soft_margin", "squared_hinge",
]  # fmt: skip


def plus_minus_one(p, t, tolerance):
    return t == const(1.0, t) or t == const(-1.0, t)


SIGNS = Domain(plus_minus_one, "targets -1 or +1", signs=True)
_MARGIN = Option("margin", 1.0, number())

ARRAYS = """Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
            Scores.
        targets : array of the same shape, any real dtype
            -1 or +1."""

# --- hinge ------------------------------------------------------------------------------


@inline
def gap_value(gap, squared):
    inside = maximum(gap, const(0.0, gap))
    return inside * inside if squared else inside


@inline
def gap_grad(gap, t, squared):
    return inside_margin(gap, const(-2.0, gap) * gap * t if squared else -t)


@inline
def gap_hess(gap, t, squared):
    return inside_margin(gap, const(2.0, gap) * t * t if squared else const(0.0, gap))


def hinge_value(p, t, margin=1.0, squared=False):
    return gap_value(margin - p * t, squared)


def hinge_grad(p, t, margin=1.0, squared=False):
    return gap_grad(margin - p * t, t, squared)


def hinge_hess(p, t, margin=1.0, squared=False):
    return gap_hess(margin - p * t, t, squared)


hinge = register(
    pointwise_loss(
        "hinge",
        hinge_value,
        hinge_grad,
        hinge_hess,
        (_MARGIN, Option("squared", False, flag)),
        domain=SIGNS,
        doc=rf"""
        Hinge loss of the score of each element.

        .. math:: \ell(p, y) = \max(0, \mathrm{{margin}} - y p)

        The gradient is -y inside the margin and 0 from the margin on; the hessian is 0.

        {ARRAYS}
        margin : float, default 1.0
            From which y p on the loss is 0.
        squared : bool, default False
            Squares the loss: this is `squared_hinge`.
        {CALL}

        {SIGN_ERRORS}

        Notes
        -----
        Source: C. Cortes and V. Vapnik, Support-Vector Networks (1995); as scikit-learn's
        ``hinge_loss`` on signed labels.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.hinge.value_and_grad(
        ...     np.array([0.5, 2.0, 1.0]), np.array([1, 1, 1]), reduction="none"
        ... )
        >>> loss.tolist(), grad.tolist()
        ([0.5, 0.0, 0.0], [-1.0, 0.0, 0.0])
        """,
    )
)


def squared_hinge_value(p, t, margin=1.0):
    return gap_value(margin - p * t, True)


def squared_hinge_grad(p, t, margin=1.0):
    return gap_grad(margin - p * t, t, True)


def squared_hinge_hess(p, t, margin=1.0):
    return gap_hess(margin - p * t, t, True)


squared_hinge = register(
    pointwise_loss(
        "squared_hinge",
        squared_hinge_value,
        squared_hinge_grad,
        squared_hinge_hess,
        (_MARGIN,),
        domain=SIGNS,
        doc=rf"""
        Squared hinge loss of the score of each element.

        .. math:: \ell(p, y) = \max(0, \mathrm{{margin}} - y p)^2

        The gradient is -2 y max(0, margin - y p), the hessian 2 inside the margin and 0 from
        there on: `hinge` with ``squared=True``.

        {ARRAYS}
        margin : float, default 1.0
            From which y p on the loss is 0.
        {CALL}

        {SIGN_ERRORS}

        Notes
        -----
        Source: Keras' ``SquaredHinge``, scikit-learn's ``squared_hinge``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.squared_hinge.value_and_grad(np.array([0.5]), np.array([1]))
        >>> float(loss), grad.tolist()
        (0.25, [-1.0])
        """,
    )
)


def perceptron_value(p, t):
    return gap_value(const(0.0, p) - p * t, False)


def perceptron_grad(p, t):
    return gap_grad(-(p * t), t, False)


def perceptron_hess(p, t):
    return gap_hess(-(p * t), t, False)


perceptron = register(
    pointwise_loss(
        "perceptron",
        perceptron_value,
        perceptron_grad,
        perceptron_hess,
        domain=SIGNS,
        doc=rf"""
        Perceptron loss of the score of each element: `hinge` without a margin.

        .. math:: \ell(p, y) = \max(0, -y p)

        The gradient is -y where the sign of the score is wrong, and 0 elsewhere, also at a score
        of 0; the hessian is 0.

        {ARRAYS}
        {CALL}

        {SIGN_ERRORS}

        Notes
        -----
        Source: F. Rosenblatt, The Perceptron (1958); as optax's ``perceptron_loss``, but for the
        gradient at a score of 0, where optax takes -y / 2.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.perceptron.value_and_grad(
        ...     np.array([-0.5, 2.0]), np.array([1, 1]), reduction="none"
        ... )
        >>> loss.tolist(), grad.tolist()
        ([0.5, 0.0], [-1.0, 0.0])
        """,
    )
)


def modified_huber_value(p, t):
    z = p * t
    near = gap_value(const(1.0, p) - z, True)
    return choose(z < const(-1.0, p), const(-4.0, p) * z, near)


def modified_huber_grad(p, t):
    z = p * t
    near = gap_grad(const(1.0, p) - z, t, True)
    return choose(z < const(-1.0, p), const(-4.0, p) * t, near)


def modified_huber_hess(p, t):
    z = p * t
    near = gap_hess(const(1.0, p) - z, t, True)
    return choose(z < const(-1.0, p), const(0.0, p), near)


modified_huber = register(
    pointwise_loss(
        "modified_huber",
        modified_huber_value,
        modified_huber_grad,
        modified_huber_hess,
        domain=SIGNS,
        doc=rf"""
        Squared hinge loss of the score of each element, linear beyond a margin of -1.

        .. math:: \ell(p, y) = \max(0, 1 - y p)^2 - \max(0, -1 - y p)^2

        Where y p < -1 this is -4 y p, and the gradient -4 y; elsewhere the gradient is
        -2 y max(0, 1 - y p). The hessian is 2 for -1 <= y p < 1, else 0.

        {ARRAYS}
        {CALL}

        {SIGN_ERRORS}

        Notes
        -----
        Source: T. Zhang, Solving Large Scale Linear Prediction Problems Using Stochastic
        Gradient Descent Algorithms (2004); as scikit-learn's ``modified_huber``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.modified_huber.value_and_grad(
        ...     np.array([0.5, -3.0]), np.array([1, 1]), reduction="none"
        ... )
        >>> loss.tolist(), grad.tolist()
        ([0.25, 12.0], [-1.0, -4.0])
        """,
    )
)


# --- smooth -----------------------------------------------------------------------------


def soft_margin_value(p, t):
    return softplus(-t * p)


def soft_margin_grad(p, t):
    return -t * sigmoid(-t * p)


def soft_margin_hess(p, t):
    return t * t * sigmoid(t * p) * sigmoid(-t * p)


soft_margin = register(
    pointwise_loss(
        "soft_margin",
        soft_margin_value,
        soft_margin_grad,
        soft_margin_hess,
        doc=rf"""
        Logistic loss of the score of each element.

        .. math:: \ell(p, y) = \log(1 + e^{{-y p}})

        The gradient is -y sigmoid(-y p), the hessian y^2 sigmoid(y p) sigmoid(-y p).
        `binary_cross_entropy_with_logits` is the same with labels 0 and 1.

        {ARRAYS}
            Other numbers are accepted, and scale the score.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: PyTorch's ``soft_margin_loss``, optax's ``sigmoid_binary_cross_entropy`` on
        signs; stable for every finite score.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> fl.soft_margin(np.array([0.0, -1000.0]), np.ones(2), reduction="none").round(6).tolist()
        [0.693147, 1000.0]
        """,
    )
)


def exponential_value(p, t):
    return exp(-t * p)


def exponential_grad(p, t):
    return -t * exp(-t * p)


def exponential_hess(p, t):
    return t * t * exp(-t * p)


exponential = register(
    pointwise_loss(
        "exponential",
        exponential_value,
        exponential_grad,
        exponential_hess,
        domain=SIGNS,
        doc=rf"""
        Exponential loss of the score of each element: what AdaBoost minimises.

        .. math:: \ell(p, y) = e^{{-y p}}

        The gradient is -y exp(-y p), the hessian exp(-y p).

        {ARRAYS}
        {CALL}

        {SIGN_ERRORS}

        Notes
        -----
        Source: J. Friedman, T. Hastie and R. Tibshirani, Additive Logistic Regression (2000);
        as scikit-learn's ``ExponentialLoss``, which takes labels 0 and 1:
        y exp(-p) + (1 - y) exp(p).

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.exponential.value_and_grad(np.array([0.0]), np.array([1]))
        >>> float(loss), grad.tolist()
        (1.0, [-1.0])
        """,
    )
)
