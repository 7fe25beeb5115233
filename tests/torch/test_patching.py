"""torch.nn.functional's losses swapped for ours and back."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

import fastloss.torch as flt  # noqa: E402
from fastloss.torch.patching import FASTER_FROM  # noqa: E402

ORIGINALS = {name: getattr(functional, name) for name in FASTER_FROM}
SIZE = max(FASTER_FROM.values()) // 8


def unpatched():
    return all(getattr(functional, name) is ORIGINALS[name] for name in FASTER_FROM)


def is_ours(loss):
    return type(loss.grad_fn).__name__.startswith("EagerLoss")


def data():
    """Large enough to be worth swapping."""
    return torch.randn(SIZE, 8, requires_grad=True), torch.arange(SIZE) % 8


def test_small_inputs_stay_with_torch():
    x, y = data()
    with flt.patch():
        assert not is_ours(functional.cross_entropy(x[:32], y[:32]))


def test_swapped_inside_and_restored_after():
    x, y = data()
    with flt.patch():
        assert is_ours(functional.cross_entropy(x, y))
        assert is_ours(torch.nn.CrossEntropyLoss()(x, y))
        assert is_ours(torch.nn.MSELoss()(x, x.detach()))
        with flt.patch():
            pass
        assert is_ours(functional.cross_entropy(x, y))
    assert unpatched()
    assert not is_ours(functional.cross_entropy(x, y))


def test_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), flt.patch():
        raise ZeroDivisionError
    assert unpatched()


def test_enable_and_disable():
    x, y = data()
    flt.enable()
    try:
        flt.enable()
        with flt.patch():
            pass
        assert is_ours(functional.cross_entropy(x, y))
    finally:
        flt.disable()
    flt.disable()
    assert unpatched()


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, of deprecated arguments and sizes
def test_what_is_not_ours_is_torchs():
    """Deprecated arguments, broadcasting, targets with gradients, other dtypes: torch's result."""
    x, y = data()
    soft = x.detach().softmax(1).requires_grad_()
    calls = [
        lambda: functional.cross_entropy(x, y, size_average=False),
        lambda: functional.cross_entropy(x, soft),
        lambda: functional.mse_loss(x, torch.ones(8)),
        lambda: functional.mse_loss(x, x.detach().double()),
        lambda: functional.cross_entropy(input=x, target=y, label_smoothing=0.1),
        lambda: functional.mse_loss(x.detach(), x),
        lambda: functional.soft_margin_loss(x, (x > 0).long()),
    ]
    expected = [call() for call in calls]
    with flt.patch():
        got = [call() for call in calls]
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype and a.requires_grad == b.requires_grad
        torch.testing.assert_close(a, b)


def test_errors_are_torchs():
    x, y = data()
    for call in (
        lambda: functional.cross_entropy(x, y + 5),
        lambda: functional.cross_entropy(x, y.int()),
        lambda: functional.cross_entropy(x, y[:2]),
        lambda: functional.mse_loss(x, y, reduction="median"),
        lambda: functional.binary_cross_entropy(x.sigmoid(), (x > 0).long()),
    ):
        with pytest.raises(Exception) as theirs:  # noqa: PT011 - compared below
            call()
        with flt.patch(), pytest.raises(type(theirs.value)) as ours:
            call()
        assert str(ours.value) == str(theirs.value)
