"""Float64 oracles of the losses over a class axis.

Both are -sum_c mass_c log p_c; they differ in where p comes from. `mass` is what the targets, the
class weights and the label smoothing make of each class. N examples, C classes; inside this file
the class axis is always the last.
"""

import numpy as np

from tests.oracles.expected import Expected

CLAMP = -100.0


def cross_entropy(
    x,
    targets,
    class_weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    z_loss=0.0,
    logit_scale=1.0,
    logit_softcap=None,
    axis=-1,
):
    """Logits in. log-sum-exp(z) - z[y] and its soft form, with z = softcap(scale * x)."""
    x, mass, weight, ignored = _prepare(
        x, targets, class_weight, ignore_index, label_smoothing, axis
    )
    z, slope, bend = _transform(x, logit_scale, logit_softcap)
    with np.errstate(all="ignore"):
        top = z.max(-1, keepdims=True)
        lse = top + np.log(np.exp(z - top).sum(-1, keepdims=True))
        p = np.exp(z - lse)
        gap = lse - z
        total = mass.sum(-1, keepdims=True)
        pull = total + 2.0 * z_loss * lse
        nll = np.where(mass == 0, 0.0, mass * gap)
        loss = nll.sum(-1) + z_loss * lse[..., 0] ** 2
        grad_z = p * pull - mass
        hess_z = p * (1.0 - p) * pull + 2.0 * z_loss * p**2
        grad, hess = grad_z * slope, hess_z * slope**2 + grad_z * bend

        # What one rounding error may cost: z itself is rounded when it is scaled or capped.
        finite = np.where(np.isfinite(z), z, 0.0)
        noise = (
            np.abs(finite).max(-1, keepdims=True) if (logit_scale != 1.0 or logit_softcap) else 0.0
        )
        reach = np.where(np.isfinite(gap), np.abs(gap), 0.0)
        loss_scale = (mass * (1.0 + reach + noise)).sum(-1) + z_loss * (
            np.abs(lse[..., 0]) + 1.0
        ) ** 2
        steep = total + 2.0 * z_loss * (np.abs(lse) + 1.0)
        grad_z_scale = p * steep * (1.0 + reach + noise) + mass
        grad_scale = grad_z_scale * logit_scale
        curve = 2.0 * logit_scale**2 / logit_softcap if logit_softcap else 0.0
        hess_scale = (
            logit_scale**2 * (grad_z_scale - mass + 2.0 * z_loss * p**2 * (1 + noise))
            + curve * grad_z_scale
        )
    # A nan or +inf among the logits, or nothing but masks: the whole row is nan.
    broken = ~np.isfinite(x.max(-1))
    loss, grad, hess = (_with_nan(a, broken) for a in (loss, grad, hess))
    return _expected(loss, grad, hess, loss_scale, grad_scale, hess_scale, weight, ignored, axis)


def categorical_cross_entropy(
    p, targets, class_weight=None, ignore_index=-100, label_smoothing=0.0, axis=-1
):
    """Probabilities in. -sum_c mass_c log p_c, each log clamped at -100."""
    p, mass, weight, ignored = _prepare(
        p, targets, class_weight, ignore_index, label_smoothing, axis
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = -(mass * np.maximum(np.log(p), CLAMP)).sum(-1)
        grad = -mass / np.maximum(p, 1e-12)
        hess = np.where(mass == 0, 0.0, mass / p**2)
    return _expected(loss, grad, hess, loss, np.abs(grad), hess, weight, ignored, axis)


def _with_nan(values, broken):
    rows = broken if values.ndim == broken.ndim else broken[..., None]
    return np.where(rows, np.nan, values)


def _transform(x, scale, cap):
    """Scale, then cap.

    A -inf logit is a mask and stays one. Also the first and second derivative of z in x.
    """
    z = scale * x
    if cap is None:
        return z, np.full(x.shape, scale), np.zeros(x.shape)
    with np.errstate(invalid="ignore"):
        t = np.tanh(z / cap)
        mask = np.isneginf(x)
        slope = np.where(mask, scale, scale * (1.0 - t**2))
        bend = np.where(mask, 0.0, -2.0 * scale**2 * t * (1.0 - t**2) / cap)
        return np.where(mask, -np.inf, cap * t), slope, bend


def _prepare(x, targets, class_weight, ignore_index, smoothing, axis):
    """Class axis last; targets, class weights and smoothing melted into one mass per class."""
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    classes = x.shape[-1]
    w = np.ones(classes) if class_weight is None else np.asarray(class_weight, np.float64)
    if np.issubdtype(np.asarray(targets).dtype, np.integer):
        ignored = targets == ignore_index
        y = np.where(ignored, 0, targets).astype(np.intp)
        hit = np.arange(classes) == y[..., None]
        # PyTorch: (1-e) w[y] on the target, e/C w_c on every class.
        mass = (1.0 - smoothing) * w[y][..., None] * hit + smoothing / classes * w
        weight = np.where(ignored, 0.0, w[y])
    else:
        soft = np.moveaxis(np.asarray(targets, np.float64), axis, -1)
        ignored = np.zeros(x.shape[:-1], bool)
        # PyTorch: the targets are smoothed first, then weighted; the mean divides by the number
        # of examples.
        mass = (soft * (1.0 - smoothing) + smoothing / classes) * w
        weight = np.ones(x.shape[:-1])
    return x, mass, weight, ignored


def _expected(loss, grad, hess, loss_scale, grad_scale, hess_scale, weight, ignored, axis):
    def keep(a):
        rows = ignored if a.ndim == ignored.ndim else ignored[..., None]
        return np.where(rows, 0.0, a)

    def back(a):
        return np.moveaxis(keep(a), -1, axis)

    return Expected(
        keep(loss),
        back(grad),
        back(hess),
        keep(loss_scale),
        back(grad_scale),
        back(hess_scale),
        weight=weight,
        axis=axis,
    )
