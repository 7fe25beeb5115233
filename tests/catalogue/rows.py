"""Losses over classes that are made of formulas."""

import numpy as np

from tests.catalogue.draws import class_weight, indices, normal, probabilities, softmax, uniform
from tests.catalogue.entry import Loss
from tests.oracles import rows


def log_probabilities(rng, shape, axis=-1):
    return np.log(probabilities(rng, shape, axis))


def off_the_ties(z):
    """Scores whose differences keep away from 0 and from the margins in use."""
    return np.round(4.0 * z) / 4.0 + 0.03 * np.arange(z.shape[-1])


def spread(rng, shape, axis=-1):
    """Distributions of which some are almost certain."""
    return softmax(8.0 * rng.standard_normal(shape), axis)


LOSSES = (
    Loss(
        "nll",
        rows.nll,
        predictions=log_probabilities,
        targets={"hard": indices},
        options={
            "plain": {},
            "weighted": {"class_weight": class_weight},
            "melted": {"class_weight": class_weight, "ignore_index": 0},
        },
        over_classes=True,
    ),
    Loss(
        "multiclass_hinge",
        rows.multiclass_hinge,
        predictions=normal(1.5),
        targets={"hard": indices},
        smooth=off_the_ties,
        options={"plain": {}, "margin": {"margin": 0.5}, "ignoring": {"ignore_index": 1}},
        over_classes=True,
    ),
    Loss(
        "multi_margin",
        rows.multi_margin,
        predictions=normal(1.5),
        targets={"hard": indices},
        smooth=off_the_ties,
        options={
            "plain": {},
            "squared": {"p": 2},
            "weighted": {"class_weight": class_weight},
            "melted": {"p": 2, "margin": 0.5, "class_weight": class_weight, "ignore_index": 0},
        },
        over_classes=True,
    ),
    Loss(
        "focal_cross_entropy",
        rows.focal_cross_entropy,
        predictions=normal(3.0),
        targets={"hard": indices},
        options={
            "plain": {},
            "gamma-0": {"gamma": 0.0},
            "flat": {"gamma": 0.5, "alpha": 0.25},
            "melted": {"gamma": 1.0, "alpha": class_weight, "ignore_index": 0},
        },
        over_classes=True,
    ),
    Loss(
        "generalized_cross_entropy",
        rows.generalized_cross_entropy,
        predictions=normal(3.0),
        targets={"hard": indices},
        options={
            "plain": {},
            "mae": {"q": 1.0},
            "ignoring": {"q": 0.125, "ignore_index": 1},
        },
        over_classes=True,
    ),
    Loss(
        "sparsemax",
        rows.sparsemax,
        predictions=normal(1.0),
        targets={"hard": indices, "soft": probabilities},
        options={"plain": {}, "ignoring": {"ignore_index": 1}},
        over_classes=True,
        only={"ignoring": "hard"},
    ),
    Loss(
        "kl_divergence",
        rows.kl_divergence,
        predictions=log_probabilities,
        targets={"soft": spread, "logs": log_probabilities},
        options={"plain": {}, "log": {"log_target": True}},
        over_classes=True,
        only={"plain": "soft", "log": "logs"},
    ),
    Loss(
        "js_divergence",
        rows.js_divergence,
        predictions=log_probabilities,
        targets={"soft": spread, "logs": log_probabilities},
        options={
            "plain": {},
            "forward": {"beta": 0.0},
            "backward": {"beta": 1.0},
            "log": {"beta": 0.25, "log_target": True},
        },
        over_classes=True,
        only={"plain": "soft", "forward": "soft", "backward": "soft", "log": "logs"},
    ),
    Loss(
        "cosine_distance",
        rows.cosine_distance,
        predictions=normal(2.0),
        targets={"real": normal(2.0)},
        options={"plain": {}, "epsilon": {"epsilon": 20.0}},
        over_classes=True,
    ),
    Loss(
        "multilabel_soft_margin",
        rows.multilabel_soft_margin,
        predictions=normal(4.0),
        targets={"soft": uniform(0.0, 1.0)},
        options={"plain": {}},
        over_classes=True,
    ),
)
