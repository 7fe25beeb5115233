"""Losses of pairs of scores: which of the two is to be the higher one."""

from __future__ import annotations

from fastloss.checks import number
from fastloss.loss import register
from fastloss.losses.describe import CALL, SIGN_ERRORS
from fastloss.losses.margins import SIGNS, gap_grad, gap_hess, gap_value
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option

__all__ = ["margin_ranking"]


def margin_ranking_value(p, t, other=0.0, margin=0.0):
    return gap_value(margin - t * (p - other), False)


def margin_ranking_grad(p, t, other=0.0, margin=0.0):
    return gap_grad(margin - t * (p - other), t, False)


def margin_ranking_hess(p, t, other=0.0, margin=0.0):
    return gap_hess(margin - t * (p - other), t, False)


margin_ranking = register(
    pointwise_loss(
        "margin_ranking",
        margin_ranking_value,
        margin_ranking_grad,
        margin_ranking_hess,
        (Option("other", 0.0, number(array=True)), Option("margin", 0.0, number())),
        domain=SIGNS,
        doc=rf"""
        Ranking loss of two scores, of which the target says which is to be the higher.

        .. math:: \ell(p, y) = \max(0, \mathrm{{margin}} - y (p - \mathrm{{other}}))

        The gradient is -y where the order is wrong, or right by less than the margin, and 0
        elsewhere, also at the margin exactly; the hessian is 0.

        Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
            Scores, the first of each pair; or, where `other` is left out, the differences of the
            two, and that is how to differentiate both: the gradient by the second score is minus
            the one returned.
        targets : array of the same shape, any real dtype
            +1 where the first score is to be the higher one, -1 where the second is.
        other : float or array that broadcasts against the predictions, default 0.0
            The second score of each pair.
        margin : float, default 0.0
            By how much the higher score must lead for a loss of 0.
        {CALL}

        {SIGN_ERRORS}

        Notes
        -----
        Source: PyTorch's ``margin_ranking_loss``, but for the gradient at the margin exactly,
        where PyTorch takes -y.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> first, second = np.array([0.75, 2.0]), np.array([0.5, 1.0])
        >>> loss, grad = fl.margin_ranking.value_and_grad(
        ...     first - second, np.array([1, 1]), margin=0.5, reduction="none"
        ... )
        >>> loss.tolist(), grad.tolist()
        ([0.25, 0.0], [-1.0, 0.0])
        """,
    )
)
