"""Logistic regression on three classes, trained by nothing but NumPy and fastloss."""

import numpy as np

import fastloss as fl


def main() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 2], [2, -1], [-2, -1]], np.float32)
    targets = rng.integers(3, size=600)
    points = centres[targets] + rng.normal(size=(600, 2)).astype(np.float32)

    weights = np.zeros((2, 3), np.float32)
    bias = np.zeros(3, np.float32)
    for step in range(101):
        logits = points @ weights + bias
        loss, grad = fl.cross_entropy.value_and_grad(logits, targets, label_smoothing=0.05)
        weights -= points.T @ grad
        bias -= grad.sum(axis=0)
        if step % 25 == 0:
            accuracy = (logits.argmax(axis=1) == targets).mean()
            print(f"step {step:3}: loss {loss:.4f}, accuracy {accuracy:.1%}")

    rows = fl.cross_entropy(points @ weights + bias, targets, reduction="none")
    print(f"hardest example: number {rows.argmax()}, loss {rows.max():.2f}")


if __name__ == "__main__":
    main()
