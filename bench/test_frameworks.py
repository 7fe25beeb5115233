"""The loss's part of a training step inside PyTorch and JAX: ours beside their own.

PyTorch: forward and `backward()` to the logits, eager and compiled by inductor. JAX:
`value_and_grad` under `jit`, beside optax. Peak memory is that of a training step whose logits
come out of a layer, the logits included.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from bench.results import Results
from fastloss.benchmark import memory
from fastloss.benchmark.measure import measure

SHAPES = ((32, 10), (256, 1000), (2048, 32000), (512, 128256))
MEMORY_SHAPE = (2048, 32000)
INPUTS = 16
"""Of the layer that makes the logits: so few that its own arrays do not count."""
SECONDS = 0.7

Steps = Mapping[str, Callable[[], object]]


def torch_steps(shape: tuple[int, int]) -> Steps:
    import torch
    from torch.nn import functional

    import fastloss.torch as flt

    torch._dynamo.reset()
    x = torch.randn(*shape, requires_grad=True)
    y = torch.randint(0, shape[1], shape[:1])
    losses: dict[str, Callable[..., Any]] = {
        "fastloss.torch": flt.cross_entropy,
        "torch": functional.cross_entropy,
        "torch compiled": torch.compile(functional.cross_entropy, dynamic=False),
    }

    def step(loss: Callable[..., Any]) -> Callable[[], object]:
        def run() -> object:
            x.grad = None
            loss(x, y).backward()
            return x.grad

        return run

    return {name: step(loss) for name, loss in losses.items()}


def by_optax(x: Any, y: Any) -> Any:
    import optax

    return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()


def jax_steps(shape: tuple[int, int]) -> Steps:
    import jax

    import fastloss.jax as flj

    x = jax.random.normal(jax.random.key(0), shape)
    y = jax.random.randint(jax.random.key(1), shape[:1], 0, shape[1])

    def step(loss: Callable[..., Any]) -> Callable[[], object]:
        compiled = jax.jit(jax.value_and_grad(loss))
        return lambda: jax.block_until_ready(compiled(x, y))[1]

    return {"fastloss.jax": step(flj.cross_entropy), "optax": step(by_optax)}


FRAMEWORKS = {"torch": torch_steps, "optax": jax_steps}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_step(
    framework: str,
    shape: tuple[int, int],
    results: Results,
    show: Callable[[str], None],
    pytestconfig: pytest.Config,
) -> None:
    pytest.importorskip(framework)
    steps = FRAMEWORKS[framework](shape)
    ours, *theirs = steps
    expected = np.array(steps[ours]())
    for name in theirs:
        np.testing.assert_allclose(
            np.array(steps[name]()), expected, rtol=1e-4, atol=1e-6 / shape[0], err_msg=name
        )
    timings = measure(steps, pytestconfig.getoption("--seconds") or SECONDS)
    figures = {name: float(f"{timing.median * 1e6:.5g}") for name, timing in timings.items()}
    results.section("frameworks")[f"{framework} {shape}"] = {"us": figures}
    show(
        ", ".join(f"{name} {us:.0f} us ({us / figures[ours]:.1f})" for name, us in figures.items())
    )


def torch_training(shape: tuple[int, int]) -> Steps:
    import torch
    from torch.nn import functional

    import fastloss.torch as flt

    hidden = torch.randn(shape[0], INPUTS)
    weight = torch.randn(INPUTS, shape[1], requires_grad=True)
    y = torch.randint(0, shape[1], shape[:1])

    def step(loss: Callable[..., Any], **options: Any) -> Callable[[], object]:
        def run() -> object:
            weight.grad = None
            loss(hidden @ weight, y, **options).backward()
            return weight.grad

        return run

    return {
        "fastloss.torch": step(flt.cross_entropy),
        "fastloss.torch, inplace": step(flt.cross_entropy, inplace=True),
        "torch": step(functional.cross_entropy),
    }


def jax_training(shape: tuple[int, int]) -> Steps:
    import jax

    import fastloss.jax as flj

    hidden = jax.random.normal(jax.random.key(0), (shape[0], INPUTS))
    weight = jax.random.normal(jax.random.key(1), (INPUTS, shape[1]))
    y = jax.random.randint(jax.random.key(2), shape[:1], 0, shape[1])

    def step(loss: Callable[..., Any]) -> Callable[[], object]:
        compiled = jax.jit(jax.value_and_grad(lambda weight: loss(hidden @ weight, y)))
        return lambda: jax.block_until_ready(compiled(weight))

    return {"fastloss.jax": step(flj.cross_entropy), "optax": step(by_optax)}


TRAINING = {"torch": torch_training, "optax": jax_training}


def child(framework: str, who: str) -> None:
    """Print the peak; what `test_step_memory` runs in a process of its own."""
    step = TRAINING[framework](MEMORY_SHAPE)[who]
    print(json.dumps(memory.peak_beyond_inputs(step)))


@pytest.mark.parametrize(
    "framework, who",
    [
        ("torch", "fastloss.torch"),
        ("torch", "fastloss.torch, inplace"),
        ("torch", "torch"),
        ("optax", "fastloss.jax"),
        ("optax", "optax"),
    ],
)
def test_step_memory(
    framework: str, who: str, results: Results, show: Callable[[str], None]
) -> None:
    pytest.importorskip(framework)
    if not memory.can_measure():
        pytest.skip("peak memory is read from /proc, which this system does not have")
    program = f"from bench.test_frameworks import child; child({framework!r}, {who!r})"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    peak = json.loads(run.stdout)
    results.section("frameworks memory")[f"{who} {MEMORY_SHAPE}"] = {"MB": round(peak / 1e6, 2)}
    show(f"{peak / 1e6:.1f} MB")
