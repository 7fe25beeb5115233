"""Every refusal of an option, of `grad_output`, of `out`, and of another device."""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import CORE_CASES, FIRST, LOSSES
from tests.helpers import each
from tests.refusals import SIGNS, X, Y, legal, refused, refused_everywhere

# --- options ----------------------------------------------------------------------------

BAD_OPTIONS = [
    ("cross_entropy", ValueError, {"label_smoothing": -0.1}),
    ("cross_entropy", ValueError, {"label_smoothing": 1.5}),
    ("cross_entropy", ValueError, {"label_smoothing": np.nan}),
    ("cross_entropy", TypeError, {"label_smoothing": "a lot"}),
    ("cross_entropy", ValueError, {"logit_scale": 0.0}),
    ("cross_entropy", ValueError, {"logit_scale": -1.0}),
    ("cross_entropy", ValueError, {"logit_scale": np.inf}),
    ("cross_entropy", ValueError, {"logit_scale": np.nan}),
    ("cross_entropy", TypeError, {"logit_scale": None}),
    ("cross_entropy", ValueError, {"logit_softcap": 0.0}),
    ("cross_entropy", ValueError, {"logit_softcap": -30.0}),
    ("cross_entropy", ValueError, {"logit_softcap": np.nan}),
    ("cross_entropy", TypeError, {"logit_softcap": "30"}),
    ("cross_entropy", ValueError, {"z_loss": np.nan}),
    ("cross_entropy", TypeError, {"z_loss": "no"}),
    ("cross_entropy", TypeError, {"ignore_index": 1.5}),
    ("cross_entropy", TypeError, {"ignore_index": "pad"}),
    ("cross_entropy", ValueError, {"ignore_index": 2**70}),
    ("categorical_cross_entropy", ValueError, {"label_smoothing": 2.0}),
    ("categorical_cross_entropy", TypeError, {"ignore_index": 0.0}),
    ("binary_cross_entropy_with_logits", ValueError, {"label_smoothing": -0.5}),
    ("binary_cross_entropy_with_logits", ValueError, {"label_smoothing": 1.01}),
    ("binary_cross_entropy_with_logits", ValueError, {"pos_weight": np.ones(2)}),
    ("binary_cross_entropy_with_logits", ValueError, {"pos_weight": np.ones((5, 4, 3))}),
    ("binary_cross_entropy_with_logits", TypeError, {"pos_weight": "two"}),
    ("hinge", TypeError, {"margin": "wide"}),
    ("hinge", ValueError, {"margin": 10**400}),
    ("mse", ValueError, {"sample_weight": 10**400}),
]


@pytest.mark.parametrize(("loss", "error", "options"), BAD_OPTIONS, ids=lambda v: str(v)[:40])
def test_bad_option(loss, error, options):
    """The message names the option and the value (or the shape) given."""
    ((name, value),) = options.items()
    shown = str(value.shape) if isinstance(value, np.ndarray) else str(value)
    case = next(case for case in FIRST if case.loss.name == loss)
    refused_everywhere(error, [name, shown], case, *legal(case), **options)


@each(
    "name, options",
    [
        ("charbonnier", {"eps": 1e-46}),
        ("gaussian_nll", {"eps": 1e-46}),
        ("tweedie_nll", {"power": 1 + 1e-8}),
        ("focal", {"gamma": 1e39}),
        ("generalized_cross_entropy", {"q": 1e-46}),
        ("cross_entropy", {"logit_softcap": 1e-46}),
        ("cross_entropy", {"logit_scale": 1e39}),
        ("triplet", {"margin": 1e39}),
    ],
)
def test_an_option_that_the_dtype_rounds_to_a_bad_one(name, options):
    """Fine for float64; the error says what became of it."""
    loss = getattr(fl, name)
    shape = {"triplet": (2, 3, 4)}.get(name, (2, 3))
    which = name in ("triplet", "cross_entropy", "generalized_cross_entropy")
    targets = np.zeros(2, np.int64) if which else np.ones(shape)
    loss(np.ones(shape), targets, **options)
    ((option, value),) = options.items()
    for dtype in (np.float32, np.float16):
        words = (
            rf"{name}: {option} must be a finite number.* which {value!r} is in float32".replace(
                "+", r"\+"
            )
        )
        with pytest.raises(ValueError, match=words):
            loss(np.ones(shape, dtype), targets.astype(dtype) if not which else targets, **options)


@each("case", FIRST)
def test_unknown_option(case):
    """It names the culprit and what the loss does take."""
    refused_everywhere(
        TypeError, ["temperature", case.loss.name], case, *legal(case), temperature=2.0
    )
    known = [
        name for entry in LOSSES if entry is case.loss for o in entry.options.values() for name in o
    ]
    with pytest.raises(TypeError) as caught:
        case.function(*legal(case), temperature=2.0)
    for name in ["reduction", "sample_weight", *known]:
        assert name in str(caught.value)


@each("case", FIRST)
def test_options_are_keyword_only(case):
    predictions, targets = legal(case)
    for method in (
        case.function,
        case.function.value_and_grad,
        case.function.grad,
        case.function.grad_and_hess,
    ):
        with pytest.raises(TypeError):
            method(predictions, targets, 1.0)
        with pytest.raises(TypeError):
            method(predictions)


@each("option", ["grad_output", "out"])
def test_value_alone_takes_no_gradient_arguments(option):
    refused(TypeError, [option], fl.mse, X, X, **{option: np.ones((4, 3))})


# --- grad_output, out -------------------------------------------------------------------


@each("case", FIRST)
def test_shape_of_grad_output(case):
    predictions, targets = legal(case)
    examples = (4,) if case.over_classes else (4, 3)
    for shape in ((5,), (2, 2), (1, *examples)):
        upstream = np.ones(shape)
        words = ["grad_output", str(shape)]
        refused(
            ValueError,
            words,
            case.function.grad,
            predictions,
            targets,
            reduction="none",
            grad_output=upstream,
        )
    for reduction in ("mean", "sum"):
        upstream = np.ones(examples)
        words = ["grad_output", str(examples)]
        refused(
            ValueError,
            words,
            case.function.grad,
            predictions,
            targets,
            reduction=reduction,
            grad_output=upstream,
        )


@each("upstream", ["1", None.__class__, 1j, np.ones(4, complex), [1.0] * 4])
def test_grad_output_of_another_type(upstream):
    refused(
        TypeError,
        ["grad_output"],
        fl.cross_entropy.grad,
        X,
        Y,
        reduction="none",
        grad_output=upstream,
    )


@each("case", FIRST)
def test_shape_and_dtype_of_out(case):
    predictions, targets = legal(case)
    method = case.function.value_and_grad
    for shape in ((4,), (3, 4), (4, 3, 1), (5, 3)):
        refused(
            ValueError,
            ["out", str(shape), str(predictions.shape)],
            method,
            predictions,
            targets,
            out=np.zeros(shape),
        )
    for dtype in (np.float32, np.int64, complex):
        out = np.zeros(predictions.shape, dtype)
        refused(
            TypeError, ["out", out.dtype.name, "float64"], method, predictions, targets, out=out
        )


@each("case", FIRST)
def test_read_only_out(case):
    predictions, targets = legal(case)
    predictions.flags.writeable = False
    refused(
        ValueError, ["out", "read-only"], case.function.grad, predictions, targets, out=predictions
    )


@each("out", ["buffer", [[0.0] * 3] * 4, 0.0])
def test_out_of_another_type(out):
    refused(TypeError, ["out"], fl.mse.grad, X, X, out=out)


@each("case", [case for case in FIRST if case.kind not in ("hard", "which")])
def test_out_must_not_be_the_targets(case):
    """out=predictions is the only way in which an input is ever written."""
    predictions, targets = legal(case)
    call = case.function.value_and_grad
    refused(ValueError, ["out", "target"], call, predictions, targets, out=targets)


def test_out_must_not_be_the_weights():
    predictions, weight = X.copy(), np.ones((4, 3))
    refused(
        ValueError,
        ["out", "sample_weight"],
        fl.mse.grad,
        predictions,
        X,
        sample_weight=weight,
        out=weight,
    )


def test_out_must_not_overlap_the_predictions_half():
    """Shifted by one: the gradient of one element would be read as the prediction of the next."""
    memory = np.linspace(0, 1, 13)
    predictions, out = memory[:12], memory[1:]
    refused(ValueError, ["out", "memory"], fl.mse.grad, predictions, np.zeros(12), out=out)
    turned = memory[:9].reshape(3, 3)
    refused(
        ValueError,
        ["out", "memory"],
        fl.cross_entropy.grad,
        turned,
        np.zeros(3, int),
        out=turned.T,
    )


def test_overlap_is_looked_for_in_every_call():
    """What is kept from call to call knows shapes and strides, not where the arrays lie."""
    memory, zeros = np.zeros(48), np.zeros(16)
    middle = memory[16:32]
    for start in (0, 16, 32):
        fl.mse.grad(middle, zeros, out=memory[start:][:16])
    for start in (1, 15, 17, 31):
        out = memory[start:][:16]
        refused(ValueError, ["out", "memory"], fl.mse.grad, middle, zeros, out=out)
        refused(ValueError, ["out", "target"], fl.mse.grad, zeros, middle, out=out)


def test_out_between_the_predictions():
    """No element is shared, though one range of memory holds both."""
    memory = np.linspace(0.0, 1.0, 24)
    predictions, out = memory[::2], memory[1::2]
    expected = predictions.copy()
    grad = fl.mse.grad(predictions, np.zeros(12), out=out, reduction="sum")
    assert grad is out
    np.testing.assert_array_equal(grad, expected)
    np.testing.assert_array_equal(predictions, expected)


def test_out_must_not_overlap_itself():
    row = np.zeros((1, 3))
    out = np.lib.stride_tricks.as_strided(row, (4, 3), (0, 8))
    refused(ValueError, ["out"], fl.mse.grad, X, X, out=out)


# --- devices ----------------------------------------------------------------------------


class OnAGraphicsCard:
    """An array of which nothing is known but that it lives on CUDA."""

    __cuda_array_interface__ = {  # noqa: RUF012 - the protocol's name and shape
        "shape": (4, 3),
        "typestr": "<f8",
        "data": (4096, False),
        "version": 3,
        "strides": None,
    }


@each("case", FIRST)
def test_predictions_and_targets_on_different_devices(case):
    predictions, targets = legal(case)
    assert issubclass(fl.DeviceError, ValueError)
    for args in ((OnAGraphicsCard(), targets), (predictions, OnAGraphicsCard())):
        refused(fl.DeviceError, ["cuda", "cpu"], case.function, *args)
    with pytest.raises(fl.DeviceError):
        case.function(predictions, targets, sample_weight=OnAGraphicsCard())


def test_config_has_only_its_settings():
    """A misspelt setting must not vanish without a word."""
    assert fl.config.validate_cuda is False
    assert repr(fl.config) == f"Config(validate_cuda=False, kept_memory={2**29})"
    with pytest.raises(AttributeError, match="validate_cpu"):
        fl.config.validate_cpu = True


@each("case", [case for case in CORE_CASES if case.option_set in ("plain", "all", "both")])
def test_a_refused_call_leaves_no_trace(case):
    """The right call after a refused one gives what it gave before."""
    predictions, targets = legal(case)
    options = case.options((4, 3))
    before = case.function(predictions, targets, **options)
    with pytest.raises(ValueError, match="reduction"):
        case.function(predictions, targets, **options | {"reduction": "most"})
    np.testing.assert_array_equal(case.function(predictions, targets, **options), before)


@pytest.mark.parametrize("make", [np.float64, np.float32, np.array], ids=lambda f: f.__name__)
def test_options_as_numpy_scalars(make):
    """What comes out of a NumPy computation is a number, too."""
    loss = fl.cross_entropy(X, Y, label_smoothing=make(0.5), logit_scale=make(2.0))
    assert loss == fl.cross_entropy(X, Y, label_smoothing=0.5, logit_scale=2.0)
    assert fl.hinge(X, SIGNS, margin=make(0.5)) == fl.hinge(X, SIGNS, margin=0.5)


@each("make", [np.int64, np.uint8, int])
def test_integer_options_as_numpy_scalars(make):
    loss = fl.cross_entropy(X, Y, ignore_index=make(1), axis=make(1))
    assert loss == fl.cross_entropy(X[::2], Y[::2])


def test_a_call_seen_before_does_not_let_a_bad_one_pass():
    """1.0 == True == 1, also as a key of a table of checked calls."""
    fl.cross_entropy(X, Y, ignore_index=1)
    with pytest.raises(TypeError, match="ignore_index"):
        fl.cross_entropy(X, Y, ignore_index=1.0)
    fl.cross_entropy(X, Y, axis=1)
    with pytest.raises(TypeError, match="axis"):
        fl.cross_entropy(X, Y, axis=1.0)
