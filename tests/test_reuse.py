"""Large results in memory that earlier ones have left: no two that somebody has may share any."""

import itertools
import sys
import threading

import numpy as np
import pytest
import torch

import fastloss as fl
from fastloss import reuse
from fastloss.torch import operators
from fastloss.torch.call import Call
from tests.helpers import each, run_python

SHAPE = (reuse.LARGE // 4,)
FLOAT32 = np.dtype(np.float32)


def forget():
    fl.config.kept_memory = 0
    fl.config.kept_memory = 2**29


@pytest.fixture(autouse=True)
def nothing_known():
    forget()
    yield
    forget()


def compiled(call):
    """Call once: a compilation may hold the first result until Python collects its garbage."""
    call()
    forget()


def address(array):
    return array.__array_interface__["data"][0]


def new(shape=SHAPE, dtype=FLOAT32, order=None):
    return reuse.array_maker(shape, dtype, order)()


def test_what_is_gone_is_used_again():
    first = new()
    place = address(first)
    del first
    assert address(new()) == place


HOLDERS = {
    "itself": lambda a: a,
    "a view": lambda a: a[5:7],
    "a view of a view": lambda a: a[::2][3:].reshape(-1, 1)[1:2],
    "a memoryview": memoryview,
    "a tensor": torch.from_numpy,
    "a slice of a tensor": lambda a: torch.from_numpy(a)[3:5],
    "by DLPack": torch.from_dlpack,
    "in a closure": lambda a: lambda: a,
}


@each("holder", HOLDERS)
def test_what_somebody_has_is_left_alone(holder):
    array = new()
    array[:] = 1
    held = [HOLDERS[holder](array)]
    place = address(array)
    del array
    others = [new() for _ in range(6)]
    for other in others:
        other[:] = 2
    assert place not in map(address, others)
    held.clear()


def test_no_two_share_memory():
    held = [new() for _ in range(7)]
    places = sorted(map(address, held))
    assert all(b - a >= reuse.LARGE for a, b in itertools.pairwise(places))


def test_a_block_serves_what_is_a_little_smaller():
    large = 2 * SHAPE[0]
    place = address(new((large,)))
    assert address(new((large - large // 5,))) == place
    assert address(new((large // 2,))) != place  # a waste
    assert address(new((large + 1,))) != place


@each("order", [None, (1, 0), (1, 2, 0)])
@each("dtype", [np.float32, np.float64])
def test_shape_dtype_and_order(order, dtype):
    shape = (512, 128, 65) if order and len(order) == 3 else (4096, 1030)
    for _ in range(2):
        array = new(shape, np.dtype(dtype), order)
        assert array.shape == shape and array.dtype == dtype and array.flags.writeable
        walked = array.transpose(order) if order else array
        assert walked.flags.c_contiguous
        del array, walked


def test_small_arrays_own_their_memory():
    assert new((SHAPE[0] - 1,)).base is None
    assert new().base is not None


def test_no_more_is_kept_than_the_limit():
    fl.config.kept_memory = 2 * reuse.LARGE
    held = [new() for _ in range(5)]
    assert sum(block.nbytes for block in reuse._known) == 2 * reuse.LARGE
    assert new((3 * SHAPE[0],)).base is None  # larger than all that may be kept
    del held
    fl.config.kept_memory = 0
    assert reuse._known == [] and new().base is None


def test_few_are_kept():
    held = [new() for _ in range(9)]
    assert len(reuse._known) == reuse._MOST < len(held)


def test_the_oldest_are_forgotten_first():
    fl.config.kept_memory = 2 * reuse.LARGE
    first, second = new(), new()
    places = address(first), address(second)
    third = new()
    del first, second
    assert address(new()) == places[1]
    del third


@each("value", [-1, 0.5, "1", None])
def test_a_limit_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="kept_memory"):
        fl.config.kept_memory = value


def test_threads_never_get_the_same():
    """Each thread fills its array with its own number, and finds that number again."""
    wrong = []

    def work(number):
        for _ in range(30):
            array = new()
            array[:: 2**14] = number
            for _ in range(20):
                if (array[:: 2**14] != number).any():
                    wrong.append(number)
            del array

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_gradients_of_a_loop_share_what_is_gone_and_nothing_else():
    p, t = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    compiled(lambda: fl.mse.grad(p, t, reduction="sum"))
    places, kept = set(), []
    for step in range(6):
        gradient = fl.mse.grad(p * step, t, reduction="sum")
        places.add(address(gradient))
        if step in (1, 3):
            kept.append((step, gradient))
    for step, gradient in kept:
        np.testing.assert_array_equal(gradient, np.float32(step))
    assert len(places) == 4  # two that are kept, and two in turn


def test_training_steps_in_torch_use_one_block():
    x = torch.zeros(SHAPE[0] // 8, 8, requires_grad=True)
    y = torch.zeros(len(x), dtype=torch.int64)
    compiled(lambda: fl.cross_entropy(x, y).backward())
    places = set()
    for _ in range(4):
        x.grad = None
        fl.cross_entropy(x, y).backward()
        places.add(x.grad.data_ptr())
    assert len(places) == 1
    first = x.grad
    x.grad = None
    fl.cross_entropy(x, y).backward()
    assert x.grad.data_ptr() != first.data_ptr()


def test_operators_of_torch_use_one_block():
    x = torch.zeros(SHAPE[0] // 8, 8)
    y = torch.zeros(len(x), dtype=torch.int64)
    text = Call("cross_entropy", "mean", {}, ()).text()
    compiled(lambda: operators.value_and_grad(x, y, None, [], text))
    compiled(lambda: operators.grad(torch.ones(()), x, y, None, [], text))
    places = {operators.value_and_grad(x, y, None, [], text)[1].data_ptr() for _ in range(3)}
    places |= {operators.grad(torch.ones(()), x, y, None, [], text).data_ptr() for _ in range(3)}
    assert len(places) == 1


def test_a_tracer_that_looks_at_variables_does_not_spoil_the_count():
    """While fastloss is imported, in some calls, in none."""
    run_python(
        """
        import itertools, sys
        import numpy as np

        def trace(frame, event, argument):
            frame.f_locals
            return trace

        sys.settrace(trace)
        import fastloss as fl

        sys.settrace(None)
        p = np.ones((2048, 2048), np.float32)
        t = np.zeros_like(p)
        fl.mse.grad(p, t)
        for traced in itertools.product((None, trace), repeat=3):
            held = []
            for scale, tracer in enumerate(traced):
                sys.settrace(tracer)
                held.append(fl.mse.grad(scale * p, t, reduction="sum"))
                sys.settrace(None)
            assert [grad.max() for grad in held] == [0.0, 1.0, 2.0], traced
        """
    )
