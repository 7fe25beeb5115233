"""The losses made of formulas over a row, called on JAX arrays: jit, grad and vmap."""

import numpy as np
import pytest

from tests.catalogue import FIRST
from tests.catalogue.regions import LOSSES as REGION_LOSSES
from tests.catalogue.rows import LOSSES as ROW_LOSSES
from tests.helpers import each

jax = pytest.importorskip("jax")

NAMES = {loss.name for loss in (*ROW_LOSSES, *REGION_LOSSES)}


@each("case", [case for case in FIRST if case.loss.name in NAMES])
def test_transformations(case):
    x, t = case.draw((6, 5), np.float32)
    loss, grad = case.function.value_and_grad(x, t)
    x, t = jax.numpy.asarray(x), jax.numpy.asarray(t)
    value, by_x = jax.jit(jax.value_and_grad(case.function))(x, t)
    np.testing.assert_array_equal(value, loss)
    np.testing.assert_array_equal(by_x, grad)
    mapped = jax.vmap(lambda a, b: case.function(a, b, reduction="none"))(x, t)
    np.testing.assert_array_equal(mapped, case.function(x, t, reduction="none"))
