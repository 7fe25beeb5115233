"""Losses over several devices, in processes of their own: JAX counts its devices once."""

import pytest

pytest.importorskip("jax")

from tests.helpers import run_python

SETUP = """
import jax, jax.numpy as jnp, numpy as np
import fastloss as fl
from jax.sharding import Mesh, PartitionSpec as P

rng = np.random.default_rng(0)
x = jnp.asarray(rng.normal(size=(64, 10)), jnp.float32)
y = jnp.asarray(rng.integers(0, 10, 64))
mesh = Mesh(np.array(jax.devices()), ("d",))
assert mesh.size == 2

def sharded(function, *specs):
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=specs[:-1], out_specs=specs[-1]))

def mean_of_all(x, y, **options):
    return jax.lax.pmean(fl.cross_entropy(x, y, **options), "d")

def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
"""


def on_two_devices(code):
    run_python(SETUP + code, XLA_FLAGS="--xla_force_host_platform_device_count=2")


def test_each_device_has_a_part_of_the_batch():
    on_two_devices("""
loss = sharded(mean_of_all, P("d"), P("d"), P())
close(loss(x, y), fl.cross_entropy(x, y))
close(jax.grad(loss)(x, y), jax.grad(fl.cross_entropy)(x, y))
rows = sharded(lambda x, y: fl.cross_entropy(x, y, reduction="none"), P("d"), P("d"), P("d"))
close(rows(x, y), fl.cross_entropy(x, y, reduction="none"))
half = x.astype(jnp.float16)
close(jax.grad(loss)(half, y), jax.grad(fl.cross_entropy)(half, y))
""")


def test_a_loss_of_one_device_is_not_taken_for_that_of_all():
    on_two_devices("""
try:
    sharded(fl.cross_entropy, P("d"), P("d"), P())(x, y)
except ValueError as error:
    assert "replication" in str(error), error
else:
    raise AssertionError("the loss of the first device")
""")


def test_what_is_the_same_on_all_devices_beside_what_is_not():
    """Its derivative is the sum of theirs."""
    on_two_devices("""
weights = jnp.linspace(0.5, 1.0, 10)
options = {"class_weight": weights, "reduction": "sum"}
loss = sharded(lambda x, y: mean_of_all(x, y, **options), P(), P("d"), P())
alone = lambda x, y: sum(fl.cross_entropy(x, part, **options) for part in (y[:32], y[32:])) / 2
close(loss(x[:32], y), alone(x[:32], y))
close(jax.grad(loss)(x[:32], y), jax.grad(alone)(x[:32], y))
""")


def test_results_outside_of_jit_lie_where_predictions_do():
    on_two_devices("""
second = jax.devices()[1]
there, labels = jax.device_put((x, y), second)
loss, grad = fl.cross_entropy.value_and_grad(there, labels)
assert loss.devices() == grad.devices() == {second}
assert fl.cross_entropy(x, y).devices() == x.devices() != {second}
close(grad, fl.cross_entropy.grad(x, y))
spread = jax.device_put(x, jax.NamedSharding(mesh, P("d")))
grad = fl.cross_entropy.grad(spread, y)
assert grad.sharding == spread.sharding
close(grad, fl.cross_entropy.grad(x, y))
""")
