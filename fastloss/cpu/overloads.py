"""How an elementary function gets its implementation on the CPU."""

from __future__ import annotations

import inspect

import numpy as np
from numba.core import types
from numba.extending import overload

from fastloss.elementary import inline

# A call that LLVM finds too large to inline would keep the loop around it scalar.
INLINE = {"forceinline": True}


def on_cpu(stub):
    """Make `choose(x)` the CPU implementation of `stub`, for a float32 or float64 argument.

    Integers and booleans are taken as float64.
    """

    def register(implementation):
        def choose(x):
            if isinstance(x, types.Float):
                return implementation
            if isinstance(x, types.Integer | types.Boolean):
                return lambda x: implementation(np.float64(x))
            return None

        overload(stub, target="cpu", jit_options=INLINE)(choose)
        return inline(implementation)

    return register


def by_precision(single, double):
    """Implement the decorated function of floats by one function for each of two precisions."""

    def register(stub):
        def choose(*args):
            return single if args[0] == types.float32 else double

        choose.__signature__ = inspect.signature(stub)
        overload(stub, target="cpu", jit_options=INLINE)(choose)
        return stub

    return register
