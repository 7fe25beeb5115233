"""What all kernels of softmax on the CPU are made of, whichever way they go over the logits.

Exponentials are taken of the logits as they are, and only where their sum shows that this lost
something, of the distance to the row's maximum: to find that first would cost another look at
every logit. Which of the two a row gets depends on nothing but the row.
"""

from __future__ import annotations

from typing import Any

from fastloss.cpu.memory import STORAGE
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline
from fastloss.losses.softmax import IDENTITY, SOFTCAPPED, class_target
from fastloss.variant import ClassVariant

#: Exponentials below are as good as none: the loss of a class index is then made of its logit.
TINY = 1e-37


def sound_sums(variant: ClassVariant) -> tuple[float, float]:
    """Return between which sums of its exponentials a row may be measured from 0.

    None that counts has left the normal range there. The loss of a mass beside the index is the
    difference of the sum's logarithm and of logits, in float64: for predictions of that precision
    both have to be small.
    """
    exact = variant.mass and variant.predictions == "float64"
    return (1e-3, 1e6) if exact else (1e-15, 1e30)


def make_is_sound(variant: ClassVariant) -> Any:
    """Make the function that tells by the sum whether a row may be measured from 0."""
    least, largest = sound_sums(variant)

    @inline
    def is_sound(s):
        return (s >= least) & (s <= largest)

    return is_sound


def kept(variant: ClassVariant) -> bool:
    """Whether there are derivatives."""
    return variant.outputs.grad or variant.outputs.hess


def has_raw(variant: ClassVariant) -> bool:
    """Whether derivatives depend on the logits as given: the softcap's slope does."""
    return variant.link is SOFTCAPPED


def has_one_factor(variant: ClassVariant) -> bool:
    """Whether the gradient is a multiple of the exponentials, but for the class indices."""
    return not (variant.outputs.hess or has_raw(variant) or variant.mass)


def make_link(variant: ClassVariant) -> Any:
    """Make the function (raw, scale, cap) -> the linked logit, of the type `real`."""
    real = real_dtype(variant.predictions).type
    link = variant.link.value
    LINKED = variant.link is not IDENTITY

    @inline
    def linked(raw, scale, cap):
        return link(raw, scale, cap) if LINKED else real(raw)

    return linked


def make_mass(variant: ClassVariant) -> Any:
    """Make the function (t, k, weight, keep, spread) -> the mass on a class beside an index.

    Its soft target, if there are any, is the one with the number k at `t`.
    """
    load_t = STORAGE[variant.targets].load
    real = real_dtype(variant.predictions).type
    SOFT = variant.soft

    @inline
    def mass_on(t, k, weight, keep, spread):
        y = real(load_t(t, k)) if SOFT else real(0)
        return class_target(y, weight, keep, spread)

    return mass_on


def make_derivatives(variant: ClassVariant) -> Any:
    """Make the function that returns a class' (first, second) derivative.

    Of (p, mass, raw, slope, bend, factor, scale, cap), with p its probability, `mass` its target.
    """
    _, link_slope, link_curvature = variant.link
    HESS, RAW = variant.outputs.hess, has_raw(variant)

    @inline
    def derivatives(p, mass, raw, slope, bend, factor, scale, cap):
        by_z = slope * p - mass
        chain = link_slope(raw, scale, cap) if RAW else scale
        if not HESS:
            return by_z * (factor * chain), by_z
        second = slope * p * (type(p)(1) - p) + bend * p * p
        bent = second * chain * chain
        if RAW:
            bent += by_z * link_curvature(raw, scale, cap)
        return by_z * (factor * chain), bent * factor

    return derivatives
