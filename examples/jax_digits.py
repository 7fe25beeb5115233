"""A network in JAX with optax's Adam, trained twice on scikit-learn's digits.

Once with optax's cross-entropy and once with `fastloss.jax`'s, each step one compiled program.
Needs pip install 'fastloss[jax,demo]' optax.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from rich.progress import track
from sklearn.datasets import load_digits

import fastloss.jax as flj


def weights(sizes=(64, 128, 10)):
    """New weights, always the same."""
    keys = jax.random.split(jax.random.key(0), len(sizes) - 1)
    return [
        {"w": jax.random.normal(key, (n, m)) * (2 / n) ** 0.5, "b": jnp.zeros(m)}
        for key, n, m in zip(keys, sizes, sizes[1:], strict=False)
    ]


def logits_of(parameters, x):
    """The network."""
    *hidden, last = parameters
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def train(name, loss, images, labels, epochs):
    """Return (losses of the steps, accuracies on the held-out fifth)."""
    optimizer, held_out = optax.adam(1e-3), len(images) // 5
    parameters = weights()
    state = optimizer.init(parameters)

    @jax.jit
    def step(parameters, state, x, y):
        value, grads = jax.value_and_grad(lambda p: loss(logits_of(p, x), y))(parameters)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(parameters, updates), state, value

    rng = np.random.default_rng(0)
    losses, accuracies = [], []
    for _ in track(range(epochs), description=f"{name:14}"):
        order = held_out + rng.permutation(len(images) - held_out)
        for start in range(0, len(order) - 63, 64):
            rows = order[start : start + 64]
            parameters, state, value = step(parameters, state, images[rows], labels[rows])
            losses.append(float(value))
        right = logits_of(parameters, images[:held_out]).argmax(1) == labels[:held_out]
        accuracies.append(float(right.mean()))
    return losses, accuracies


def optax_loss(logits, labels):
    """The same loss by optax."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", default="jax_digits.png")
    arguments = parser.parse_args()
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int32)

    runs = {
        name: train(name, loss, images, labels, arguments.epochs)
        for name, loss in (("optax", optax_loss), ("fastloss.jax", flj.cross_entropy))
    }
    (theirs, _), (ours, accuracies) = runs.values()
    gaps = [abs(a - b) for a, b in zip(theirs, ours, strict=True)]
    print(f"held-out accuracy {accuracies[-1]:.1%}; the losses differ by {max(gaps):.1e} at most")

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 7), sharex=True, layout="constrained")
    for (name, (losses, _)), style in zip(runs.items(), ("-", "--"), strict=True):
        top.plot(losses, style, label=name, linewidth=1.5)
    top.set_ylabel("training loss of a step")
    top.legend()
    bottom.semilogy(np.maximum(gaps, 1e-10), color="gray")
    bottom.set_ylabel("difference of the two losses")
    bottom.set_xlabel("step")
    figure.savefig(arguments.out, dpi=110)
    print(f"drawn to {arguments.out}")


if __name__ == "__main__":
    main()
