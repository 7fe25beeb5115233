"""torch.nn.functional's losses swapped for ours and back."""

import os
import sys
import threading

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

import fastloss.torch as flt  # noqa: E402
from fastloss.torch.patching import FASTER_FROM  # noqa: E402
from tests.helpers import run_python  # noqa: E402

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


@pytest.fixture
def often():
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often")
def test_from_several_threads():
    """Who comes first swaps, who goes last restores, also where both do so at once."""
    errors = []

    def go(use):
        try:
            for _ in range(500):
                use()
        except Exception as error:
            errors.append(error)

    def block():
        with flt.patch():
            assert not unpatched()

    def switch():
        flt.enable()
        flt.disable()

    threads = [threading.Thread(target=go, args=(use,)) for use in [block, switch] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and unpatched()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_another_thread_swaps():
    """It finds the functions swapped or not, and no lock that nobody gives back."""
    run_python(
        """
        import os, signal, sys, threading
        import fastloss.torch as flt

        def swap():
            while not done:
                with flt.patch():
                    pass

        done = False
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=swap, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(5)
                flt.enable()
                flt.disable()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        done = True
        for thread in threads:
            thread.join()
        os._exit(0)
        """
    )


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


@pytest.mark.parametrize("autocast", [False, True])
def test_weights_of_another_dtype(autocast):
    """The result is of the dtype that it has in torch, the weight's where that is the wider."""
    x, _ = data()
    exact = ((x > 0) + 1).bfloat16()  # so are the squares
    calls = {
        "double": lambda: functional.mse_loss(x, x.detach() + 1, weight=x.detach().abs().double()),
        "float": lambda: functional.mse_loss(exact, exact * 0, weight=x.detach().abs()),
        "by position": lambda: functional.cross_entropy(
            x, x.detach().softmax(1), torch.arange(8, dtype=torch.float64)
        ),
        "binary": lambda: functional.binary_cross_entropy_with_logits(
            x, x.detach().sigmoid(), x.detach().abs().double(), pos_weight=torch.ones(8).double()
        ),
    }
    expected = {name: call() for name, call in in_autocast(calls, autocast)}
    with flt.patch():
        got = {name: call() for name, call in in_autocast(calls, autocast)}
    for name in calls:
        assert got[name].dtype == expected[name].dtype, name
        torch.testing.assert_close(got[name], expected[name])


def in_autocast(calls, enabled):
    """Each call, inside of autocast."""
    with torch.autocast("cpu", enabled=enabled):
        yield from calls.items()


def test_weights_that_autocast_converts_are_ours():
    x, y = data()
    with flt.patch(), torch.autocast("cpu"):
        assert is_ours(functional.cross_entropy(x.bfloat16(), y, torch.arange(8.0)))


def test_errors_are_torchs():
    x, y = data()
    for call in (
        lambda: functional.cross_entropy(x, y + 5),
        lambda: functional.cross_entropy(x, y.int()),
        lambda: functional.cross_entropy(x, y, torch.ones(8).double()),
        lambda: functional.cross_entropy(x, y[:2]),
        lambda: functional.mse_loss(x, y, reduction="median"),
        lambda: functional.binary_cross_entropy(x.sigmoid(), (x > 0).long()),
    ):
        with pytest.raises(Exception) as theirs:  # noqa: PT011 - compared below
            call()
        with flt.patch(), pytest.raises(type(theirs.value)) as ours:
            call()
        assert str(ours.value) == str(theirs.value)
