"""float16 by the CPU's own instructions and by integer arithmetic: the same bits.

Numba compiles for this CPU, or for another that `NUMBA_CPU_NAME` names. A generic one has no such
instructions, and what LLVM would call in their place does not exist: a kernel must do without.
"""

import hashlib

import numpy as np

import fastloss as fl
from tests.helpers import run_python


def digests():
    """What is read from every float16, and what becomes of float32 numbers of every size.

    The gradient is grad_output * (p - t), rounded; with p - t = 1 it is grad_output.
    """
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    spread = np.arange(0, 2**32, 8161, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = [np.linspace(-end, end, 10007, dtype=np.float32) for end in (7e4, 2, 1e-3, 1e-6)]
    upstream = np.concatenate([spread, *near])
    ones = np.ones(upstream.size, np.float16)
    zeros = np.zeros_like(ones)
    _, written = fl.mse.value_and_grad(ones, zeros, reduction="none", grad_output=upstream)
    read, copied = fl.mse.value_and_grad(every, zeros[: every.size], reduction="none")
    return [hashlib.sha256(a.tobytes()).hexdigest() for a in (written, read, copied)]


def test_a_generic_cpu_gives_the_same_bits(tmp_path):
    """nan's, infinities and subnormals among them; and one cache on disk serves both."""
    code = "from tests.cpu.test_float16 import digests; print(*digests())"
    shared = {"NUMBA_CACHE_DIR": tmp_path}
    generic, native = (
        run_python(code, **shared, **cpu).stdout.split()
        for cpu in ({"NUMBA_CPU_NAME": "generic"}, {})
    )
    assert generic == native == digests()
