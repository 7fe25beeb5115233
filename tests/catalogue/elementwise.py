"""Element-wise losses."""

from tests.catalogue.draws import (
    amounts,
    bits,
    counts,
    grid,
    normal,
    off_the_edge,
    off_the_kink,
    off_zero,
    pos_weight,
    rival_scores,
    signs,
    uniform,
)  # fmt: skip
from tests.catalogue.entry import Loss
from tests.oracles import elementwise, terms

PLAIN = {"plain": {}}


def of_error(name, options, oracle=None):
    """A loss of regression; its kinks, if any, lie at multiples of 1/4."""
    return Loss(
        name,
        oracle or getattr(terms, name),
        predictions=normal(3.0),
        targets={"real": grid},
        smooth=off_the_kink,
        options=PLAIN | options,
    )


def of_amount(name, targets, options, predictions):
    """A likelihood, or another loss of what is not negative."""
    return Loss(
        name,
        getattr(terms, name),
        predictions=predictions,
        targets=targets,
        smooth=off_zero,
        options=PLAIN | options,
    )


def of_margin(name, options, targets=None):
    """A loss of a score and a sign; its kinks lie at multiples of 1/4."""
    return Loss(
        name,
        getattr(terms, name),
        predictions=normal(1.5),
        targets=targets or {"signs": signs},
        smooth=off_the_kink,
        options=PLAIN | options,
    )


def of_logit(name, options):
    return Loss(
        name,
        getattr(terms, name),
        predictions=normal(5.0),
        targets={"soft": uniform(0.0, 1.0), "bits": bits},
        options=PLAIN | options,
    )


CORE = (
    Loss(
        "binary_cross_entropy",
        elementwise.binary_cross_entropy,
        predictions=uniform(0.01, 0.99),
        targets={"soft": uniform(0.0, 1.0), "bits": bits},
        smooth=off_the_edge,
        options=PLAIN,
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
)

LOSSES = (
    *CORE,
    of_error("mae", {}),
    of_error("huber", {"wide": {"delta": 2.5}}),
    of_error("smooth_l1", {"wide": {"beta": 2.5}}),
    of_error("log_cosh", {}),
    of_error("quantile", {"high": {"tau": 0.875, "right_derivative": True}}),
    of_error("charbonnier", {"wide": {"eps": 0.75}}),
    of_amount("msle", {"real": amounts}, {"half": {"half": True}}, uniform(-0.5, 4.0)),
    of_amount(
        "poisson_nll",
        {"counts": counts},
        {
            "full": {"full": True},
            "rate": {"log_input": False},
            "rate_full": {"log_input": False, "full": True, "eps": 0.125},
        },
        uniform(0.25, 3.0),
    ),
    of_error(
        "gaussian_nll",
        {
            "var": {"var": 2.5},
            "vars": {"var": pos_weight},
            "full": {"full": True, "var": 0.0625, "eps": 0.125},
        },
    ),
    of_amount("gamma_nll", {"real": amounts}, {"mean": {"log_input": False}}, uniform(0.25, 3.0)),
    of_amount("tweedie_nll", {"real": amounts}, {"low": {"power": 1.25}}, normal(2.0)),
    of_margin("squared_hinge", {"margin": {"margin": 0.5}}),
    of_margin("perceptron", {}),
    of_margin("modified_huber", {}),
    of_margin(
        "margin_ranking",
        {
            "margin": {"margin": 0.5},
            "others": {"other": rival_scores},
            "both": {"other": -0.75, "margin": 0.25},
        },
    ),
    of_margin("soft_margin", {}),
    of_margin("exponential", {}),
    of_logit(
        "focal",
        {
            "unbalanced": {"alpha": None, "gamma": 0.5},
            "plainest": {"alpha": None, "gamma": 0.0},
            "steep": {"alpha": 0.75, "gamma": 5.0},
        },
    ),
    of_logit("poly", {"minus": {"epsilon": -0.5}}),
)
