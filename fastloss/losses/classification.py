"""Cross-entropy over the classes of one axis."""

from __future__ import annotations

from fastloss.checks import class_weights, index, number
from fastloss.elementary import clamped_log, const, divide, inline, maximum
from fastloss.loss import Loss, register
from fastloss.losses.describe import INDEX_ERRORS, OF_CLASSES
from fastloss.spec import CrossEntropySpec, Option, SeparableSpec

CLASS_WEIGHT = Option("class_weight", None, class_weights)
IGNORE_INDEX = Option("ignore_index", -100, index)
AXIS = Option("axis", -1, index)

__all__ = ["categorical_cross_entropy", "cross_entropy"]

_TARGET_OPTIONS = (
    CLASS_WEIGHT,
    IGNORE_INDEX,
    Option("label_smoothing", 0.0, number(0.0, 1.0)),
)

SCORES_DOC = """predictions : array of shape (N, C), (N, T, C), (N, C, H, W), ...
            Scores, of dtype float64, float32, float16 or bfloat16; the classes lie on `axis`."""

LOGITS_DOC = """predictions : array of shape (N, C), (N, T, C), (N, C, H, W), ...
            Logits, of dtype float64, float32, float16 or bfloat16; the classes lie on `axis`.
            A logit of -inf is a mask: probability 0."""

INDICES_DOC = """targets : array
            Class indices, of any integer dtype and the predictions' shape without `axis`.
        ignore_index : int, default -100
            A class index that marks an example as ignored: loss, gradient and weight 0."""

_SHARED_DOC = """
        targets : array
            Class indices, of any integer dtype and the predictions' shape without `axis`; or
            probabilities, of a floating dtype and the predictions' shape.
        class_weight : array of shape (C,), optional
            Multiplies the loss of an example by the weight of its class, or the probability
            mass on each class. For class indices, ``"mean"`` divides by the weights' sum; for
            probabilities by the number of examples, as in PyTorch.
        ignore_index : int, default -100
            A class index that marks an example as ignored: loss, gradient and weight 0.
        label_smoothing : float in [0, 1], default 0.0
            PyTorch's: (1 - e) times the loss of the target plus e / C times that of every
            class; probability targets become t (1 - e) + e / C."""

cross_entropy = register(
    Loss(
        CrossEntropySpec(
            "cross_entropy",
            (
                *_TARGET_OPTIONS,
                Option("z_loss", 0.0, number(0.0)),
                Option("logit_scale", 1.0, number(above=0.0)),
                Option("logit_softcap", None, number(above=0.0, optional=True)),
                AXIS,
            ),
        ),
        rf"""
        Cross-entropy from the logits of each example.

        .. math:: \ell(z, y) = \log \sum_c \exp z_c - z_y

        For probability targets

        .. math:: \ell(z, y) = \sum_c y_c (\log \sum_k \exp z_k - z_c)

        With p = softmax(z) the gradient is p - y, and the diagonal of the hessian p (1 - p) for
        targets of mass 1.

        Parameters
        ----------
        predictions : array of shape (N, C), (N, T, C), (N, C, H, W), ...
            Logits, of dtype float64, float32, float16 or bfloat16; the classes lie on `axis`.
            A logit of -inf is a mask: probability 0.{_SHARED_DOC}
        z_loss : float, default 0.0
            Adds z_loss * log-sum-exp(z)^2 to each example; `class_weight` does not touch it.
        logit_scale : float, default 1.0
            Multiplies the logits first.
        logit_softcap : float, optional
            Then caps them: c tanh(z / c). Masks stay masks.
        axis : int, default -1
        sample_weight, reduction, grad_output, out
            See `fastloss.loss.Loss`; the weight of an example multiplies all of its loss.

        {INDEX_ERRORS}

        Notes
        -----
        A row of only -inf, with a +inf or a nan, is nan; other rows are untouched. Target
        mass on a mask makes the loss inf; the gradient stays p - y.

        Sources: PyTorch's ``cross_entropy`` (weights, smoothing, reduction); z-loss: PaLM
        (Chowdhery et al., 2022); softcap: Gemma 2 (2024).

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> logits = np.array([[2.0, 0.0], [0.0, 0.0]])
        >>> loss, grad = fl.cross_entropy.value_and_grad(logits, np.array([0, 1]))
        >>> round(float(loss), 6), grad[1].tolist()
        (0.410038, [0.25, -0.25])
        """,
    )
)

# --- probabilities ----------------------------------------------------------------------
# As in PyTorch's binary cross-entropy, the logarithm is at least -100 and the denominators of
# the derivatives at least 1e-12, so that a confident mistake keeps a finite gradient.


def surprise(p):
    return -clamped_log(p)


@inline
def surprise_slope(p):
    return divide(const(-1.0, p), maximum(p, const(1e-12, p)))


def surprise_curvature(p):
    slope = surprise_slope(p)
    return slope * slope


categorical_cross_entropy = register(
    Loss(
        SeparableSpec(
            "categorical_cross_entropy",
            (*_TARGET_OPTIONS, AXIS),
            value=surprise,
            grad=surprise_slope,
            hess=surprise_curvature,
        ),
        rf"""
        Cross-entropy of the probabilities of each example.

        .. math:: \ell(p, y) = -\sum_c y_c \log p_c

        Each logarithm is at least -100, and the derivative of -log(p) is -1 / max(p, 1e-12).
        Probabilities are taken as given, not renormalised.

        Parameters
        ----------
        predictions : array of shape (N, C), (N, T, C), (N, C, H, W), ...
            Probabilities, of dtype float64, float32, float16 or bfloat16; the classes lie on
            `axis`.{_SHARED_DOC}
        {OF_CLASSES}

        {INDEX_ERRORS}

        See Also
        --------
        cross_entropy : from logits: more accurate, and one step less.

        Notes
        -----
        Sources: Keras' ``CategoricalCrossentropy``; the clamps are those of PyTorch's
        ``binary_cross_entropy``, weights and smoothing those of its ``cross_entropy``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p = np.array([[0.5, 0.5], [0.25, 0.75]])
        >>> fl.categorical_cross_entropy(p, np.eye(2), reduction="none").round(6).tolist()
        [0.693147, 0.287682]
        """,
    )
)
