"""A convolutional network in PyTorch, trained twice on scikit-learn's digits.

Once with `torch.nn.CrossEntropyLoss` and once with the drop-in of `fastloss.torch`, from the same
weights and on the same batches: the curves lie on each other. Needs
pip install 'fastloss[torch,demo]'.
"""

import argparse

import matplotlib.pyplot as plt
import torch
from rich.progress import track
from sklearn.datasets import load_digits

import fastloss.torch as flt


def network() -> torch.nn.Module:
    """A new network, always with the same weights."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 4 * 4, 10),
    )


def train(name, loss_module, images, labels, epochs):
    """Return (losses of the steps, accuracies on the held-out fifth)."""
    model, held_out = network(), len(images) // 5
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = torch.Generator().manual_seed(0)
    losses, accuracies = [], []
    for _ in track(range(epochs), description=f"{name:28}"):
        for rows in torch.randperm(len(images) - held_out, generator=batches).split(64):
            loss = loss_module(model(images[held_out:][rows]), labels[held_out:][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            right = model(images[:held_out]).argmax(1) == labels[:held_out]
        accuracies.append(right.double().mean().item())
    return losses, accuracies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", default="torch_digits.png")
    arguments = parser.parse_args()
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target)

    modules = {
        "torch.nn.CrossEntropyLoss": torch.nn.CrossEntropyLoss(label_smoothing=0.05),
        "fastloss.torch": flt.CrossEntropyLoss(label_smoothing=0.05),
    }
    runs = {
        name: train(name, module, images, labels, arguments.epochs)
        for name, module in modules.items()
    }
    (theirs, _), (ours, accuracies) = runs.values()
    gaps = [abs(a - b) for a, b in zip(theirs, ours, strict=True)]
    print(f"held-out accuracy {accuracies[-1]:.1%}; the losses of the first epoch differ by")
    print(
        f"{max(gaps[: len(gaps) // arguments.epochs]):.1e} at most, those of all by {max(gaps):.1e}"
    )

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 7), sharex=True, layout="constrained")
    for (name, (losses, _)), style in zip(runs.items(), ("-", "--"), strict=True):
        top.plot(losses, style, label=name, linewidth=1.5)
    top.set_ylabel("training loss of a step")
    top.legend()
    bottom.semilogy(gaps, color="gray")
    bottom.set_ylabel("difference of the two losses")
    bottom.set_xlabel("step")
    figure.savefig(arguments.out, dpi=110)
    print(f"drawn to {arguments.out}")


if __name__ == "__main__":
    main()
