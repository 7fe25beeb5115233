"""The one list of losses that drives the tests: a new loss is tested by being listed here.

`LOSSES` has one entry per loss, `CASES` one per loss, kind of target and set of options.
"""

import fastloss as fl
from tests.cases import Case, Loss
from tests.catalogue_rows import ROW_LOSSES
from tests.draws import (
    bits,
    class_weight,
    indices,
    normal,
    off_the_edge,
    off_the_kink,
    pos_weight,
    probabilities,
    signs,
    uniform,
)
from tests.oracles import classes, elementwise

LISTED = {loss.name for loss in fl.losses()}
"""What the package lists, before any test adds losses of its own."""

# --- the list ---------------------------------------------------------------------------

CLASS_OPTIONS = {
    "plain": {},
    "weighted": {"class_weight": class_weight},
    "ignoring": {"ignore_index": 1},
    "smoothed": {"label_smoothing": 0.125},
    "melted": {"class_weight": class_weight, "ignore_index": 0, "label_smoothing": 0.25},
}

LOSSES = (
    Loss(
        "cross_entropy",
        classes.cross_entropy,
        predictions=normal(3.0),
        targets={"hard": indices, "soft": probabilities},
        options=CLASS_OPTIONS
        | {
            "z_loss": {"z_loss": 0.125},
            "scaled": {"logit_scale": 0.375},
            "capped": {"logit_softcap": 5.0},
            "all": {
                "class_weight": class_weight,
                "ignore_index": 0,
                "label_smoothing": 0.25,
                "z_loss": 0.0625,
                "logit_scale": 1.75,
                "logit_softcap": 8.0,
            },
        },
        over_classes=True,
        only={"ignoring": "hard"},
    ),
    Loss(
        "categorical_cross_entropy",
        classes.categorical_cross_entropy,
        predictions=probabilities,
        targets={"hard": indices, "soft": probabilities},
        smooth=off_the_edge,
        options=CLASS_OPTIONS,
        over_classes=True,
        only={"ignoring": "hard"},
    ),
    Loss(
        "binary_cross_entropy",
        elementwise.binary_cross_entropy,
        predictions=uniform(0.01, 0.99),
        targets={"soft": uniform(0.0, 1.0), "bits": bits},
        smooth=off_the_edge,
        options={"plain": {}},
    ),
    Loss(
        "binary_cross_entropy_with_logits",
        elementwise.binary_cross_entropy_with_logits,
        predictions=normal(5.0),
        targets={"soft": uniform(0.0, 1.0), "bits": bits},
        options={
            "plain": {},
            "pos_weight": {"pos_weight": 3.0},
            "pos_weights": {"pos_weight": pos_weight},
            "smoothed": {"label_smoothing": 0.125},
            "both": {"pos_weight": 0.5, "label_smoothing": 0.25},
        },
    ),
    Loss(
        "mse",
        elementwise.mse,
        predictions=normal(3.0),
        targets={"real": normal(3.0)},
        options={"plain": {}, "half": {"half": True}, "whole": {"half": False}},
    ),
    Loss(
        "hinge",
        elementwise.hinge,
        predictions=normal(1.5),
        targets={"signs": signs},
        smooth=off_the_kink,
        options={
            "plain": {},
            "margin": {"margin": 0.5},
            "squared": {"squared": True},
            "both": {"margin": 2.0, "squared": True},
        },
    ),
    *ROW_LOSSES,
)

CASES = tuple(
    Case(loss, kind, option_set)
    for loss in LOSSES
    for kind in loss.targets
    for option_set in loss.options
    if loss.only.get(option_set, kind) == kind
)
PLAIN = tuple(case for case in CASES if case.option_set == "plain")
"""One case per loss and kind of target: for what does not depend on the options."""
FIRST = tuple({case.loss.name: case for case in reversed(PLAIN)}.values())
"""One case per loss: for what does not depend on the targets either."""
BY_NAME = {str(case): case for case in CASES}
