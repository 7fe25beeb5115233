"""One call of a loss, compared with its oracle in all that the contract says of the answer.

Each method, dtype and kind of option is another kernel to compile, so the checks call one method:
value_and_grad. That the others agree with it is tested once, in test_values.py.
"""

import numpy as np

from tests.catalogue import Case
from tests.helpers import Unchanged, assert_close, loss_dtype
from tests.oracles.expected import Reduced, reduce

REDUCTIONS = ("mean", "sum", "none")


def truth(
    case: Case,
    predictions,
    targets,
    reduction="mean",
    sample_weight=None,
    grad_output=1.0,
    **options,
) -> Reduced:
    """The oracle's answer after reduction."""
    return reduce(
        case.expected(predictions, targets, **options), reduction, sample_weight, grad_output
    )


def check_loss(loss, expected: Reduced, dtype, ulps=4):
    """Kind, dtype, shape and value of a loss."""
    assert type(loss) is np.ndarray and loss.dtype == loss_dtype(dtype)
    assert_close(loss, expected.loss, expected.loss_scale, dtype, ulps, "loss")


def check_grad(grad, expected: Reduced, dtype, ulps=4):
    """Kind, dtype, shape and value of a gradient."""
    assert type(grad) is np.ndarray and grad.dtype == dtype
    assert_close(grad, expected.grad, expected.grad_scale, dtype, ulps, "grad")


def grad_of(loss, predictions, targets, **call):
    """The gradient by value_and_grad, whose kernels most tests share."""
    return loss.value_and_grad(predictions, targets, **call)[1]


def check(
    case: Case, predictions, targets, *, grad_output=None, ulps=4, expected=None, **call
):  # fmt: skip
    """value_and_grad against the oracle, or its answer where that is known; inputs unwritten."""
    expected = expected or truth(
        case, predictions, targets, grad_output=1.0 if grad_output is None else grad_output, **call
    )
    upstream = {} if grad_output is None else {"grad_output": grad_output}
    with Unchanged(predictions, targets, call.get("sample_weight"), grad_output):
        loss, grad = case.function.value_and_grad(predictions, targets, **call, **upstream)
    check_loss(loss, expected, predictions.dtype, ulps)
    check_grad(grad, expected, predictions.dtype, ulps)


def check_hess(
    case: Case, predictions, targets, *, grad_output=None, ulps=4, expected=None, **call
):  # fmt: skip
    """grad_and_hess against the oracle, or its answer where that is known; inputs unwritten."""
    expected = expected or truth(
        case, predictions, targets, grad_output=1.0 if grad_output is None else grad_output, **call
    )
    upstream = {} if grad_output is None else {"grad_output": grad_output}
    with Unchanged(predictions, targets, call.get("sample_weight"), grad_output):
        grad, hess = case.function.grad_and_hess(predictions, targets, **call, **upstream)
    check_grad(grad, expected, predictions.dtype, ulps)
    assert type(hess) is np.ndarray and hess.dtype == predictions.dtype
    assert_close(hess, expected.hess, expected.hess_scale, predictions.dtype, ulps, "hess")
