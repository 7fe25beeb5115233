"""Losses of examples that belong to several classes at once, or to none."""

from __future__ import annotations

from fastloss.elementary import const, divide, sigmoid
from fastloss.loss import Loss, register
from fastloss.losses.binary import logistic_grad, surprise_of
from fastloss.losses.classification import AXIS, SCORES_DOC
from fastloss.losses.describe import CLASS_ERRORS
from fastloss.spec import Reduction, Round, RowSpec

__all__ = ["multilabel_soft_margin"]


def logistic_term(z, t, c, row):
    return surprise_of(z, t)


def multilabel_value(row):
    classes, _, total = row
    return divide(total, classes)


def multilabel_grad(z, t, c, row):
    return divide(logistic_grad(z, t, const(1.0, z) - t), row[0])


def multilabel_hess(z, t, c, row):
    return divide(sigmoid(z) * sigmoid(-z), row[0])


multilabel_soft_margin = register(
    Loss(
        RowSpec(
            "multilabel_soft_margin",
            (AXIS,),
            indices=False,
            rounds=(Round((Reduction("sum", logistic_term, ("value",)),)),),
            value=multilabel_value,
            grad=multilabel_grad,
            hess=multilabel_hess,
        ),
        rf"""
        Mean over the classes of the cross-entropies of their logits, for labels that may overlap.

        .. math:: \ell(z, y) = \frac 1 C \sum_c (\log(1 + e^{{z_c}}) - y_c z_c)

        The gradient is (sigmoid(z) - y) / C.

        Parameters
        ----------
        {SCORES_DOC.replace("Scores", "Logits")}
        targets : array of the predictions' shape, float64, float32, float16 or bfloat16
            Labels 0 and 1 of every class, or probabilities.
        axis : int, default -1
        sample_weight, reduction, grad_output, out
            See `fastloss.loss.Loss`; the weights are those of examples.

        {CLASS_ERRORS}

        See Also
        --------
        binary_cross_entropy_with_logits : one loss for each class, with weights and smoothing.

        Notes
        -----
        Source: PyTorch's ``multilabel_soft_margin_loss``, without its weight for each class.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> z, y = np.array([[0.0, 1000.0]]), np.array([[1.0, 1.0]])
        >>> loss, grad = fl.multilabel_soft_margin.value_and_grad(z, y)
        >>> round(float(loss), 6), grad.tolist()
        (0.346574, [[-0.25, 0.0]])
        """,
    )
)
