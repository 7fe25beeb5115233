"""Oracles in mpmath, at 60 digits.

They judge the float64 oracles where cancellation or range could fool those.
"""

import mpmath as mp
import numpy as np

DIGITS = 60


def _row(values):
    return [mp.mpf(float(v)) for v in values]


def cross_entropy_row(logits, target, scale=1.0, cap=None, z_loss=0.0):
    """Loss and gradient of one row with a class index; every logit finite."""
    with mp.workdps(DIGITS):
        x = _row(logits)
        scale, z_loss = mp.mpf(scale), mp.mpf(z_loss)
        if cap is None:
            z, slope = [scale * v for v in x], [scale] * len(x)
        else:
            t = [mp.tanh(scale * v / cap) for v in x]
            z, slope = [cap * v for v in t], [scale * (1 - v**2) for v in t]
        top = max(z)
        exps = [mp.exp(v - top) for v in z]
        total = mp.fsum(exps)
        lse = top + mp.log(total)
        loss = lse - z[target] + z_loss * lse**2
        pull = 1 + 2 * z_loss * lse
        grad = [
            s * (e / total * pull - (c == target))
            for c, (e, s) in enumerate(zip(exps, slope, strict=True))
        ]
        return float(loss), np.array([float(g) for g in grad])


def function(name):
    """One of the elementary functions as mpmath computes it, float in and out."""
    formulas = {
        "exp": mp.exp,
        "log": mp.log,
        "log1p": mp.log1p,
        "expm1": mp.expm1,
        "arctan": mp.atan,
        "tanh": mp.tanh,
        "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
        "softplus": lambda x: mp.log1p(mp.exp(x)),
    }
    formula = formulas[name]

    def evaluate(x):
        with mp.workdps(DIGITS):
            return formula(mp.mpf(float(x)))

    return evaluate
