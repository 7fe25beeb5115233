"""Arrays of other libraries on the CPU: read where they lie, answered in kind."""

import array

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import CORE_FIRST, CORE_PLAIN
from tests.checks import grad_of
from tests.helpers import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    assert_same_bits,
    each,
    f64,
    run_python,
)

SHAPE = (6, 5)
TORCH_DTYPES = [FLOAT64, FLOAT32, FLOAT16, BFLOAT16]


def to_torch(a, torch):
    """A tensor of the same values; torch.from_numpy knows no ml_dtypes."""
    if a.dtype == BFLOAT16:
        return torch.from_numpy(a.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(a.copy())


def from_torch(t):
    """Back, exactly."""
    return t.detach().double().numpy()


# --- torch ------------------------------------------------------------------------------


@each("case", CORE_PLAIN)
@each("dtype", TORCH_DTYPES)
def test_torch(case, dtype):
    """The same bits as from NumPy, as tensors."""
    torch = pytest.importorskip("torch")
    predictions, targets = case.draw(SHAPE, dtype)
    expected = case.function.value_and_grad(predictions, targets)
    x, y = to_torch(predictions, torch), to_torch(targets, torch)
    before = x.clone()
    loss, grad = case.function.value_and_grad(x, y)
    assert isinstance(loss, torch.Tensor) and loss.shape == () and loss.device.type == "cpu"
    assert loss.dtype == (torch.float64 if dtype == FLOAT64 else torch.float32)
    assert isinstance(grad, torch.Tensor) and grad.dtype == x.dtype and grad.shape == x.shape
    np.testing.assert_array_equal(from_torch(loss), f64(expected[0]))
    np.testing.assert_array_equal(from_torch(grad), f64(expected[1]))
    assert torch.equal(x, before)


@each("case", CORE_FIRST)
def test_torch_tensor_that_requires_grad(case):
    """value_and_grad gives the gradient itself: no graph needed, none left behind."""
    torch = pytest.importorskip("torch")
    predictions, targets = case.draw(SHAPE, FLOAT32)
    x = to_torch(predictions, torch).requires_grad_()
    loss, grad = case.function.value_and_grad(x, to_torch(targets, torch))
    np.testing.assert_array_equal(
        from_torch(grad), f64(grad_of(case.function, predictions, targets))
    )
    assert not grad.requires_grad and not loss.requires_grad and x.grad is None


def test_torch_strided_and_channels_last():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((2, 3, 4, 5)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 3, (2, 4, 5)))
    expected = grad_of(fl.cross_entropy, x.numpy(), y.numpy(), axis=1)
    for z in (
        x,
        x.to(memory_format=torch.channels_last),
        x.transpose(0, 3).contiguous().transpose(0, 3),
    ):
        np.testing.assert_allclose(
            grad_of(fl.cross_entropy, z, y, axis=1).numpy(), expected, rtol=2e-6, atol=1e-9
        )


@each("dtype", [FLOAT32, BFLOAT16])
def test_torch_memory_is_used_where_it_lies(dtype):
    """out= and in place write through the tensor's own memory: there is no copy in between."""
    torch = pytest.importorskip("torch")
    predictions, targets = CORE_FIRST[0].draw(SHAPE, dtype)
    expected = f64(grad_of(CORE_FIRST[0].function, predictions, targets))
    x, y = to_torch(predictions, torch), to_torch(targets, torch)
    out = torch.zeros_like(x)
    _, grad = CORE_FIRST[0].function.value_and_grad(x, y, out=out)
    assert grad.data_ptr() == out.data_ptr()
    np.testing.assert_array_equal(from_torch(out), expected)
    CORE_FIRST[0].function.value_and_grad(x, y, out=x)
    np.testing.assert_array_equal(from_torch(x), expected)


def test_torch_options_as_tensors():
    """class_weight, sample_weight, grad_output, pos_weight: tensors as well."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(SHAPE), rng.integers(0, 5, 6)
    options = {"class_weight": rng.uniform(1, 2, 5), "sample_weight": rng.uniform(1, 2, 6)}
    expected = grad_of(
        fl.cross_entropy, x, y, reduction="none", grad_output=np.arange(6.0), **options
    )
    tensors = {k: torch.from_numpy(v) for k, v in options.items()}
    upstream = torch.arange(6.0)
    got = grad_of(
        fl.cross_entropy,
        torch.from_numpy(x),
        torch.from_numpy(y),
        reduction="none",
        grad_output=upstream,
        **tensors,
    )
    np.testing.assert_array_equal(got.numpy(), expected)


def test_torch_errors_speak_of_torch_dtypes_or_ours():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="int64"):
        fl.mse.value_and_grad(torch.zeros(3, dtype=torch.int64), torch.zeros(3))
    with pytest.raises(TypeError, match="complex"):
        fl.mse.value_and_grad(torch.zeros(3, dtype=torch.complex64), torch.zeros(3))
    with pytest.raises((TypeError, ValueError), match=r"(?i)sparse|layout"):
        fl.mse.value_and_grad(torch.zeros(3, 3).to_sparse(), torch.zeros(3, 3))
    with pytest.raises((TypeError, ValueError), match=r"(?i)meta|device"):
        fl.mse.value_and_grad(torch.zeros(3, device="meta"), torch.zeros(3, device="meta"))


# --- jax --------------------------------------------------------------------------------


@each("case", CORE_PLAIN)
@each("dtype", [FLOAT32, FLOAT16, BFLOAT16])
def test_jax(case, dtype):
    """The same bits as from NumPy, as JAX arrays."""
    jax = pytest.importorskip("jax")
    predictions, targets = case.draw(SHAPE, dtype)
    expected = case.function.value_and_grad(predictions, targets)
    loss, grad = case.function.value_and_grad(
        jax.numpy.asarray(predictions), jax.numpy.asarray(targets)
    )
    for got, want in zip((loss, grad), expected, strict=True):
        assert isinstance(got, jax.Array)
        assert_same_bits(np.asarray(got), want)


def test_jax_arrays_are_never_written():
    """They are immutable: out= is refused."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.ones((4, 3))
    with pytest.raises((TypeError, ValueError), match="out"):
        fl.mse.value_and_grad(x, x, out=x)
    assert (np.asarray(x) == 1).all()


@each("library", ["torch", "jax"])
def test_no_copy_of_foreign_predictions(library):
    """NumPy reports its allocations: a call of `value` on 16 MB needs none of that size."""
    pytest.importorskip(library)
    run_python(
        f"""
        import tracemalloc, numpy as np, fastloss as fl
        if {library == "torch"}:
            import torch
            x, y = torch.zeros(4096, 1024), torch.zeros(4096, dtype=torch.int64)
        else:
            import jax.numpy as jnp
            x, y = jnp.zeros((4096, 1024), jnp.bfloat16), jnp.zeros(4096, jnp.int32)
        call = fl.cross_entropy.value_and_grad if {library == "torch"} else fl.cross_entropy
        args = dict(out=torch.empty_like(x)) if {library == "torch"} else {{}}
        call(x, y, **args)
        tracemalloc.start()
        call(x, y, **args)
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < 2e6, peak
        """
    )


# --- plain protocols --------------------------------------------------------------------


class ByInterface:
    """Nothing but __array_interface__."""

    def __init__(self, a):
        self._keep = a
        self.__array_interface__ = a.__array_interface__


class ByDLPack:
    """Nothing but DLPack."""

    def __init__(self, a):
        self._keep = a

    def __dlpack__(self, **options):
        return self._keep.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._keep.__dlpack_device__()


WRAPPERS = {
    "memoryview": memoryview,
    "array_interface": ByInterface,
    "dlpack": ByDLPack,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@each("case", CORE_FIRST)
def test_other_objects_that_hand_over_cpu_memory(case, wrap):
    """No library of their own to answer in: NumPy arrays come back."""
    predictions, targets = case.draw(SHAPE, FLOAT32)
    expected = case.function.value_and_grad(predictions, targets)
    got = case.function.value_and_grad(wrap(predictions), wrap(targets))
    for a, b in zip(got, expected, strict=True):
        assert type(a) is np.ndarray
        assert_same_bits(a, b)


def test_array_array():
    p, y = array.array("d", [0.25, 0.5, 3.0]), array.array("d", [0.0, 0.5, 1.0])
    loss, grad = fl.mse.value_and_grad(p, y, reduction="sum")
    assert loss == 0.03125 + 2
    np.testing.assert_array_equal(grad, [0.25, 0, 2])
    logits = np.zeros((3, 4))
    np.testing.assert_allclose(fl.cross_entropy(logits, array.array("l", [0, 1, 2])), np.log(4))


def test_subclasses_and_masked_arrays():
    """np.matrix and memmap are arrays.

    A masked array would lose its mask silently, so it is refused.
    """
    masked = np.ma.masked_array(np.ones(3), mask=[0, 1, 0])
    with pytest.raises(TypeError, match=r"(?i)mask"):
        fl.mse(masked, np.zeros(3))


def test_memmap(tmp_path):
    """Predictions on disk are read through the mapping."""
    stored = np.memmap(tmp_path / "p.bin", np.float32, "w+", shape=(4, 3))
    stored[...] = 1.5
    loss, grad = fl.mse.value_and_grad(stored, np.zeros((4, 3), np.float32))
    assert loss == 1.125 and (np.asarray(grad) == 0.125).all()


@each("role", ["predictions", "targets"])
def test_a_list_of_numba_is_no_array(role):
    """Its class is Numba's, as that of a device array is."""
    typed = pytest.importorskip("numba.typed")
    call = {"predictions": np.zeros(2), "targets": np.zeros(2)} | {role: typed.List()}
    with pytest.raises(TypeError, match=rf"{role} must be an array .* not List"):
        fl.mse(**call)


class OnACardByDLPack(ByDLPack):
    """Memory of a GPU, offered by DLPack alone."""

    def __dlpack_device__(self):
        return 2, 0


@each("role", ["predictions", "targets"])
def test_cuda_memory_by_dlpack_alone(role):
    call = {"predictions": np.zeros(2), "targets": np.zeros(2)}
    call[role] = OnACardByDLPack(call[role])
    with pytest.raises(fl.DeviceError, match=r"OnACardByDLPack.*__cuda_array_interface__"):
        fl.mse(**call)


# --- mixtures ---------------------------------------------------------------------------


def test_kinds_mixed():
    """The predictions' kind decides; every other argument may be of any kind on the same device."""
    torch = pytest.importorskip("torch")
    predictions, targets = CORE_FIRST[0].draw(SHAPE, FLOAT32)
    function = CORE_FIRST[0].function
    expected = grad_of(function, predictions, targets)
    x, y = torch.from_numpy(predictions.copy()), torch.from_numpy(targets)
    one, two = grad_of(function, x, targets), grad_of(function, predictions, y)
    assert isinstance(one, torch.Tensor) and type(two) is np.ndarray
    np.testing.assert_array_equal(one.numpy(), expected)
    np.testing.assert_array_equal(two, expected)
    out = np.zeros_like(predictions)
    grad_of(function, x, y, out=out)
    np.testing.assert_array_equal(out, expected)


def test_jax_predictions_with_numpy_targets():
    jax = pytest.importorskip("jax")
    predictions, targets = CORE_FIRST[0].draw(SHAPE, FLOAT32)
    grad = grad_of(CORE_FIRST[0].function, jax.numpy.asarray(predictions), targets)
    assert isinstance(grad, jax.Array)
    assert_same_bits(np.asarray(grad), grad_of(CORE_FIRST[0].function, predictions, targets))


def test_import_brings_nothing_heavy():
    """Neither the import nor a NumPy call loads another array library or CUDA."""
    run_python(
        """
        import sys
        import numpy as np
        import fastloss as fl

        def heavy():
            libraries = "torch jax jaxlib cupy ml_dtypes sklearn matplotlib rich"
            return {*libraries.split(), "numba.cuda", "numba_cuda"} & set(sys.modules)

        assert not heavy(), heavy()
        fl.mse(np.ones(3), np.zeros(3))
        fl.cross_entropy.value_and_grad(np.zeros((2, 3)), np.zeros(2, int))
        assert not heavy(), heavy()
        """
    )


class OnAGraphicsCard:
    """An array of which nothing is known but that it lives on CUDA."""

    def __init__(self, shape, typestr):
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": typestr,
            "data": (4096, False),
            "version": 3,
            "strides": None,
        }


def test_cuda_memory_without_cuda():
    """A machine without a graphics card says that it has none, and touches nothing."""
    if (
        run_python("import numba.cuda as c; assert not c.is_available()", check=False).returncode
        != 0
    ):
        pytest.skip("there is a graphics card, or no numba.cuda to ask")
    with pytest.raises(
        (fl.DeviceError, ImportError, NotImplementedError, RuntimeError), match=r"(?i)cuda"
    ):
        fl.mse(OnAGraphicsCard((3,), "<f4"), OnAGraphicsCard((3,), "<f4"))
