"""Losses of regression."""

from __future__ import annotations

from fastloss.checks import flag
from fastloss.elementary import const
from fastloss.loss import register
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option


def mse_value(p, t, half=True):
    scale = const(0.5, p) if half else const(1.0, p)
    return scale * (p - t) * (p - t)


def mse_grad(p, t, half=True):
    return p - t if half else const(2.0, p) * (p - t)


def mse_hess(p, t, half=True):
    return const(1.0, p) if half else const(2.0, p)


mse = register(
    pointwise_loss(
        "mse",
        mse_value,
        mse_grad,
        mse_hess,
        (Option("half", True, flag),),
        doc=r"""
        Squared error of each element, by default half of it.

        .. math:: \ell(p, y) = \tfrac 1 2 (y - p)^2

        The gradient is p - y and the hessian 1.

        Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
        targets : array of the same shape, any real dtype
        half : bool, default True
            With the factor 1/2; without it the loss, its gradient and its hessian are twice
            as large, which is PyTorch's ``mse_loss``.
        sample_weight, reduction, grad_output, out
            See `fastloss.loss.Loss`.

        Raises
        ------
        TypeError, ValueError
            For dtypes and shapes that do not fit; targets do not broadcast.

        Notes
        -----
        Source: C. M. Bishop, Pattern Recognition and Machine Learning (2006), eq. 1.2.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.mse.value_and_grad(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        >>> float(loss), grad.tolist()
        (1.0, [0.0, 1.0])
        """,
    )
)
