"""A loss of one's own: the pinball loss, whose minimum is a quantile."""

import numpy as np

import fastloss as fl


def pinball_value(prediction, target, quantile=0.5):
    """quantile (y - p) below the target, (1 - quantile) (p - y) above it."""
    error = target - prediction
    return quantile * error if error > 0 else (quantile - 1) * error


def pinball_grad(prediction, target, quantile=0.5):
    """Its derivative by the prediction; 0 at the kink."""
    if prediction == target:
        return 0.0
    return -quantile if prediction < target else 1 - quantile


pinball = fl.pointwise_loss("pinball", pinball_value, pinball_grad, params=("quantile",))


def main() -> None:
    samples = np.random.default_rng(0).exponential(size=20_000).astype(np.float32)
    for quantile in (0.1, 0.5, 0.9):
        prediction = np.float32(1.0)
        for step in range(1, 401):
            predictions = np.broadcast_to(prediction, samples.shape)
            grad = pinball.grad(predictions, samples, quantile=quantile)
            prediction -= 8 / np.sqrt(step) * grad.sum()
        exact = -np.log(1 - quantile)
        print(f"{quantile:.0%} quantile: found {prediction:.3f}, of the distribution {exact:.3f}")


if __name__ == "__main__":
    main()
