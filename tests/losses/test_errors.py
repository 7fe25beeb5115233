"""Every refusal of an array, a shape, a reduction or a weight.

Its type, what the message names, and that every array is as it was.
"""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME, FIRST
from tests.helpers import each
from tests.refusals import TARGETS, X, Y, legal, refused, refused_everywhere

# --- dtypes -----------------------------------------------------------------------------

WRONG_PREDICTIONS = {
    "int64": X.astype(np.int64),
    "uint8": X.astype(np.uint8),
    "bool": X > 0.5,
    "complex128": X + 0j,
    "object": X.astype(object),
    "longdouble": X.astype(np.longdouble),
    "str": X.astype(str),
    "datetime64": np.zeros((4, 3), "datetime64[s]"),
    "void": np.zeros((4, 3), [("a", float)]),
}


@pytest.mark.parametrize("wrong", WRONG_PREDICTIONS)
@each("case", FIRST)
def test_dtype_of_predictions(case, wrong):
    """Only the four floating dtypes; the message names the one given and what to give instead."""
    predictions = WRONG_PREDICTIONS[wrong]
    refused_everywhere(
        TypeError, [predictions.dtype.name, "float32"], case, predictions, TARGETS[case.kind]
    )


@pytest.mark.parametrize(
    "wrong", [k for k in WRONG_PREDICTIONS if k not in ("int64", "uint8", "bool")]
)
@each("case", FIRST)
def test_dtype_of_targets(case, wrong):
    targets = WRONG_PREDICTIONS[wrong][:, 0] if case.kind == "hard" else WRONG_PREDICTIONS[wrong]
    predictions, _ = legal(case)
    refused(TypeError, [targets.dtype.name, "target"], case.function, predictions, targets)


@each("loss", ["cross_entropy", "categorical_cross_entropy"])
def test_bool_is_no_class_index(loss):
    refused(TypeError, ["bool", "integer"], getattr(fl, loss), X, np.zeros(4, bool))


@each("loss", ["cross_entropy", "categorical_cross_entropy"])
def test_floating_class_indices(loss):
    """Indices in float, as scikit-learn hands them over: their shape fits no probabilities."""
    with pytest.raises((TypeError, ValueError), match="integer") as caught:
        getattr(fl, loss)(X, Y.astype(float))
    assert "float64" in str(caught.value) or "(4,)" in str(caught.value)


@each("case", FIRST)
def test_lists_are_refused_with_a_hint(case):
    predictions, targets = legal(case)
    refused(TypeError, ["list", "asarray"], case.function, predictions.tolist(), targets)
    refused(TypeError, ["list", "asarray"], case.function, predictions, targets.tolist())


@each("thing", [None, "logits", {"a": 1}, object, 3 + 4j])
@each("case", FIRST)
def test_not_an_array_at_all(case, thing):
    predictions, targets = legal(case)
    refused(TypeError, [type(thing).__name__, "predictions"], case.function, thing, targets)
    refused(TypeError, [type(thing).__name__, "targets"], case.function, predictions, thing)


# --- shapes -----------------------------------------------------------------------------


@each("case", [case for case in FIRST if not case.over_classes])
def test_shape_of_elementwise_targets(case):
    """No broadcasting: (4, 1) against (4, 3) is a mistake far more often than a wish."""
    for shape in ((4, 1), (3,), (), (3, 4), (4, 3, 1), (12,)):
        targets = np.ones(shape)
        refused_everywhere(ValueError, [str(shape), "(4, 3)"], case, X.copy(), targets)


@each("loss", ["cross_entropy", "categorical_cross_entropy"])
def test_shape_of_class_targets(loss):
    case = BY_NAME[f"{loss}-hard-plain"]
    for shape in ((3,), (4, 1), (5,), (), (4, 3), (1, 4)):
        refused_everywhere(ValueError, [str(shape), "(4,)"], case, X.copy(), np.zeros(shape, int))
    for shape in ((4, 2), (3, 3), (4, 3, 1), (1, 3)):
        refused_everywhere(ValueError, [str(shape), "(4, 3)"], case, X.copy(), np.full(shape, 0.5))
    images = np.zeros((2, 3, 4, 5))
    refused(
        ValueError,
        ["(2, 3, 4)", "(2, 4, 5)"],
        case.function,
        images,
        np.zeros((2, 3, 4), int),
        axis=1,
    )


@each("loss", ["cross_entropy", "categorical_cross_entropy"])
def test_no_class_axis(loss):
    refused(ValueError, ["class axis"], getattr(fl, loss), np.array(0.5), np.array(0))


@each("axis", [2, -3, 100])
@each("loss", ["cross_entropy", "categorical_cross_entropy"])
def test_axis_out_of_range(loss, axis):
    case = BY_NAME[f"{loss}-hard-plain"]
    refused_everywhere(ValueError, ["axis", str(axis)], case, X.copy(), Y, axis=axis)


@each("axis", [None, 1.0, "last", (1,)])
def test_axis_of_another_type(axis):
    refused(TypeError, ["axis"], fl.cross_entropy, X, Y, axis=axis)


# --- reduction, weights -----------------------------------------------------------------


@each("reduction", ["avg", "MEAN", "", "batchmean"])
@each("case", FIRST)
def test_unknown_reduction(case, reduction):
    words = [repr(reduction), "mean", "sum", "none"]
    refused_everywhere(ValueError, words, case, *legal(case), reduction=reduction)


@each("reduction", [None, 0, True, ["mean"]])
def test_reduction_of_another_type(reduction):
    with pytest.raises((TypeError, ValueError), match="reduction"):
        fl.mse(X, X, reduction=reduction)


@each("case", FIRST)
def test_sample_weight_that_does_not_broadcast(case):
    examples = (4,) if case.over_classes else (4, 3)
    for shape in ((5,), (2,), (3, 4), (4, 3, 1), (1, 4, 3)):
        weight = np.ones(shape)
        refused_everywhere(
            ValueError,
            ["sample_weight", str(shape), str(examples)],
            case,
            *legal(case),
            sample_weight=weight,
        )


@each("case", FIRST)
def test_sample_weight_that_would_enlarge_the_loss(case):
    predictions, targets = legal(case)
    one = (predictions[:1], targets[:1])
    weight = np.ones(4) if case.over_classes else np.ones((4, 3))
    refused(ValueError, ["sample_weight"], case.function, *one, sample_weight=weight)


@each(
    "weight",
    [np.ones(4, complex), np.array(["a"] * 4), np.ones(4, object), [1.0, 1, 1, 1], "uniform"],
)
def test_sample_weight_of_another_type(weight):
    refused(TypeError, ["sample_weight"], fl.cross_entropy, X, Y, sample_weight=weight)


@each("shape", [(2,), (4,), (3, 1), (1, 3), (), (1,)])
@each("loss", ["cross_entropy", "categorical_cross_entropy"])
def test_shape_of_class_weight(loss, shape):
    case = BY_NAME[f"{loss}-hard-plain"]
    refused_everywhere(
        ValueError,
        ["class_weight", str(shape)],
        case,
        X.copy(),
        Y,
        class_weight=np.ones(shape),
    )


@each("weight", [np.ones(3, complex), {"a": 1.0}, "balanced", np.ones(3, object), [1.0, 1.0, 1.0]])
def test_class_weight_of_another_type(weight):
    refused(TypeError, ["class_weight"], fl.cross_entropy, X, Y, class_weight=weight)
