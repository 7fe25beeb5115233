"""Losses as a user would write them: plain scalar functions."""

import fastloss as fl
from fastloss.jit import exp, log, log1p, sigmoid, softplus, tanh


def log_cosh(p, y):
    """log cosh(p - y), stable for large differences."""
    d = p - y
    return softplus(-2.0 * d) + d - log1p(1.0)


def log_cosh_grad(p, y):
    """Its slope."""
    return tanh(p - y)


def log_cosh_hess(p, y):
    """Its curvature."""
    t = tanh(p - y)
    return 1.0 - t * t


def huber(p, y, delta=1.0):
    """Quadratic inside delta, linear outside."""
    d = abs(p - y)
    return 0.5 * d * d if d <= delta else delta * (d - 0.5 * delta)


def huber_grad(p, y, delta=1.0):
    """The difference, clipped."""
    d = p - y
    return min(max(d, -delta), delta)


def poisson(p, y):
    """exp(p) - y p."""
    return exp(p) - y * p


def poisson_grad(p, y):
    """exp(p) - y."""
    return exp(p) - y


def absolute(p, y):
    """|p - y|."""
    return abs(p - y)


def absolute_grad(p, y):
    """Sign of the difference, 0 at the tie."""
    d = p - y
    return 1.0 if d > 0 else (-1.0 if d < 0 else d)


def focal(z, y, gamma, alpha):
    """Focal loss of logits, in log space, hard targets."""
    s = z if y > 0.5 else -z
    weight = alpha if y > 0.5 else 1.0 - alpha
    return weight * exp(-gamma * softplus(s)) * softplus(-s)


def focal_grad(z, y, gamma, alpha):
    """d/ds [(1-p)^g (-log p)], p = sigmoid(s), times the sign of s in z."""
    s = z if y > 0.5 else -z
    weight = alpha if y > 0.5 else 1.0 - alpha
    miss = exp(-gamma * softplus(s))
    slope = miss * (-gamma * sigmoid(s) * softplus(-s) - sigmoid(-s))
    return weight * slope if y > 0.5 else -weight * slope


def gamma_deviance(p, y):
    """log p + y / p."""
    return log(p) + y / p


def gamma_deviance_grad(p, y):
    """1/p - y/p^2."""
    return (p - y) / (p * p)


LOG_COSH = fl.pointwise_loss("log_cosh", log_cosh, log_cosh_grad, log_cosh_hess)
HUBER = fl.pointwise_loss("huber", huber, huber_grad, params=("delta",))
POISSON = fl.pointwise_loss("poisson", poisson, poisson_grad, poisson_grad)
ABSOLUTE = fl.pointwise_loss("absolute", absolute, absolute_grad)
FOCAL = fl.pointwise_loss("focal", focal, focal_grad, params=(("gamma", 2.0), ("alpha", 0.25)))
GAMMA = fl.pointwise_loss("gamma_deviance", gamma_deviance, gamma_deviance_grad)
