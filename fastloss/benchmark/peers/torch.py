"""PyTorch on the CPU, forward and backward: eager, and compiled by inductor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from fastloss.arrays.kinds import Array
from fastloss.benchmark.inputs import Inputs
from fastloss.benchmark.peers import Peer, Unsupported


def categorical(p: Any, t: Any) -> Any:
    """Cross-entropy of probabilities, with the bound of PyTorch's binary_cross_entropy."""
    logs = torch.log(p).clamp(min=-100)
    return functional.nll_loss(logs, t) if t.dtype == torch.int64 else -(t * logs).sum(1).mean()


def focal(z: Any, y: Any) -> Any:
    """Focal loss with gamma = 2, as PyTorch's users write it."""
    surprise = functional.cross_entropy(z, y, reduction="none")
    return ((1 - torch.exp(-surprise)) ** 2 * surprise).mean()


def generalized(z: Any, y: Any) -> Any:
    """Generalised cross-entropy with q = 0.7."""
    p = z.softmax(1).gather(1, y[:, None])[:, 0]
    return ((1 - p**0.7) / 0.7).mean()


def jensen_shannon(z: Any, t: Any) -> Any:
    """The divergence of GKD with beta = 0.5, from log-probabilities and probabilities."""
    q = z.exp()
    log_m = torch.log((q + t) / 2)
    both = torch.xlogy(t, t) - t * log_m + q * (z - log_m)
    return 0.5 * both.sum() / len(z)


class Boxes:
    """What torchvision's losses of boxes are made of, without masks that need a copy."""

    def __init__(self, p: Any, t: Any) -> None:
        size, of_target = p[:, 2:] - p[:, :2], t[:, 2:] - t[:, :2]
        shared = torch.min(p[:, 2:], t[:, 2:]) - torch.max(p[:, :2], t[:, :2])
        self.around = torch.max(p[:, 2:], t[:, 2:]) - torch.min(p[:, :2], t[:, :2])
        inter = shared.clamp(min=0).prod(1)
        self.union = size.prod(1) + of_target.prod(1) - inter
        self.iou = inter / (self.union + 1e-7)
        centres = (p[:, :2] + p[:, 2:] - t[:, :2] - t[:, 2:]) / 2
        self.distance = (centres**2).sum(1) / ((self.around**2).sum(1) + 1e-7)
        self.turn = torch.atan(of_target[:, 0] / of_target[:, 1]) - torch.atan(
            size[:, 0] / size[:, 1]
        )


def giou(p: Any, t: Any) -> Any:
    """torchvision's generalized_box_iou_loss."""
    boxes = Boxes(p, t)
    around = boxes.around.prod(1)
    return (1 - boxes.iou + (around - boxes.union) / (around + 1e-7)).mean()


def ciou(p: Any, t: Any) -> Any:
    """torchvision's complete_box_iou_loss."""
    boxes = Boxes(p, t)
    v = 4 / math.pi**2 * boxes.turn**2
    with torch.no_grad():
        alpha = v / (1 - boxes.iou + v + 1e-7)
    return (1 - boxes.iou + boxes.distance + alpha * v).mean()


def dice(p: Any, t: Any) -> Any:
    """Dice of each image and class, as MONAI's DiceLoss."""
    shared, sizes = _shared(p, t), _size(p) + _size(t)
    return (1 - (2 * shared + SMOOTH) / (sizes + SMOOTH)).mean()


def tversky(p: Any, t: Any) -> Any:
    """The same with weights for either mistake, 1/2 each."""
    shared = _shared(p, t)
    mistakes = 0.5 * (_size(p) - shared) + 0.5 * (_size(t) - shared)
    return (1 - (shared + SMOOTH) / (shared + mistakes + SMOOTH)).mean()


def jaccard(p: Any, t: Any) -> Any:
    """Soft intersection over union."""
    shared = _shared(p, t)
    return (1 - (shared + SMOOTH) / (_size(p) + _size(t) - shared + SMOOTH)).mean()


SMOOTH = 1e-5


def _shared(p: Any, t: Any) -> Any:
    return (p * t).sum((-2, -1))


def _size(a: Any) -> Any:
    return a.sum((-2, -1))


def in_order(p: Any, t: Any) -> tuple[Any, Any, Any]:
    """Anchors, positives and negatives, of which the targets say where they are."""
    rows = torch.arange(len(t))
    return p[:, 0], p[rows, 1 + t], p[rows, 2 - t]


def pairs(p: Any, t: Any) -> Any:
    """The contrastive loss, as sentence-transformers writes it."""
    d = functional.pairwise_distance(p[:, 0], p[:, 1], eps=0.0)
    return 0.5 * (t * d**2 + (1 - t) * functional.relu(1 - d) ** 2).mean()


def views(p: Any, t: Any) -> Any:
    """NT-Xent of two views of each example, side by side, as SimCLR has it."""
    units = functional.normalize(p)
    similarities = (units @ units.T / 0.07).fill_diagonal_(-torch.inf)
    return functional.cross_entropy(similarities, torch.arange(len(p)) ^ 1)


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": functional.cross_entropy,
    "mse": lambda p, t: 0.5 * functional.mse_loss(p, t),
    "binary_cross_entropy": functional.binary_cross_entropy,
    "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
    "categorical_cross_entropy": categorical,
    "nll": functional.nll_loss,
    "multi_margin": functional.multi_margin_loss,
    "focal_cross_entropy": focal,
    "generalized_cross_entropy": generalized,
    "kl_divergence": lambda p, t: functional.kl_div(p, t, reduction="batchmean"),
    "js_divergence": jensen_shannon,
    "giou": giou,
    "ciou": ciou,
    "dice": dice,
    "tversky": tversky,
    "jaccard": jaccard,
    "cosine_distance": lambda p, t: 1 - functional.cosine_similarity(p, t, dim=1).mean(),
    "triplet": lambda p, t: functional.triplet_margin_loss(*in_order(p, t)),
    "contrastive": pairs,
    "ntxent": views,
    # PyTorch has no binary hinge of its own; this is what its users write.
    "hinge": lambda p, t: torch.clamp(1 - p * t, min=0).mean(),
    "huber": functional.huber_loss,
    "mae": functional.l1_loss,
    "poisson_nll": functional.poisson_nll_loss,
    "smooth_l1": functional.smooth_l1_loss,
    "soft_margin": functional.soft_margin_loss,
    # What follows is written in PyTorch's operations as well.
    "charbonnier": lambda p, t: torch.sqrt((p - t) ** 2 + 1e-6).mean(),
    "exponential": lambda p, t: torch.exp(-p * t).mean(),
    "focal": lambda p, t: _focal(p, t).mean(),
    "gamma_nll": lambda p, t: (p + t * torch.exp(-p)).mean(),
    "gaussian_nll": lambda p, t: 0.5 * functional.mse_loss(p, t),
    "log_cosh": lambda p, t: (functional.softplus(-2 * (p - t)) + (p - t) - math.log(2)).mean(),
    # PyTorch's own has a gradient at a tie, of which 1e7 float32 differences have some.
    "margin_ranking": lambda p, t: torch.relu(-t * p).mean(),
    "modified_huber": lambda p, t: torch.where(
        p * t >= -1, torch.clamp(1 - p * t, min=0) ** 2, -4 * p * t
    ).mean(),
    "msle": lambda p, t: functional.mse_loss(torch.log1p(p), torch.log1p(t)),
    "perceptron": lambda p, t: torch.relu(-p * t).mean(),
    "poly": lambda p, t: _poly(p, t).mean(),
    "quantile": lambda p, t: 0.5 * functional.l1_loss(p, t),
    "squared_hinge": lambda p, t: (torch.clamp(1 - p * t, min=0) ** 2).mean(),
    "tweedie_nll": lambda p, t: (2 * torch.exp(0.5 * p) + 2 * t * torch.exp(-0.5 * p)).mean(),
}


def _surprise(p: Any, t: Any) -> tuple[Any, Any]:
    """Return the cross-entropy of logits, and the probability of being wrong."""
    right = torch.sigmoid(p)
    loss = functional.binary_cross_entropy_with_logits(p, t, reduction="none")
    return loss, right * (1 - t) + (1 - right) * t


def _focal(p: Any, t: Any) -> Any:
    """torchvision's sigmoid_focal_loss."""
    loss, wrong = _surprise(p, t)
    return (0.25 * t + 0.75 * (1 - t)) * wrong**2 * loss


def _poly(p: Any, t: Any) -> Any:
    loss, wrong = _surprise(p, t)
    return loss + 2 * wrong


def function_of(inputs: Inputs) -> Callable[[Any, Any], Any]:
    """Return PyTorch's function for the case."""
    function = FUNCTIONS.get(inputs.case.loss)
    if function is None:
        raise Unsupported("PyTorch has no such loss")
    if not (inputs.case.over_classes and inputs.case.dtype == "float16"):
        return function
    # PyTorch adds up the losses in float16, which ends at 65504. Where the sum could get
    # there users widen the logits, as `torch.autocast` does.
    if 2 * inputs.examples * math.log(inputs.case.shape[1]) < np.finfo(np.float16).max:
        return function
    return lambda p, t: function(p.float(), t if t.dtype == torch.int64 else t.float())


def make_eager(inputs: Inputs) -> Peer:
    """Return PyTorch's own function, forward and backward."""
    return _peer(inputs, function_of(inputs))


def make_compiled(inputs: Inputs) -> Peer:
    """Return the same function compiled by inductor for these shapes."""
    torch._dynamo.reset()  # what earlier cases compiled must not count as recompilation
    compiled = torch.compile(function_of(inputs), dynamic=False)
    peer = _peer(inputs, compiled, lambda: torch.compiler.set_stance("fail_on_recompile"))
    # In this process: a pool of compiling processes goes on starting while the first case is timed.
    here = torch._inductor.config.patch(compile_threads=1)
    try:
        with here, _threads(inputs.threads):
            peer.forward(), peer.gradient()  # compiles both
    except Exception as error:  # no C++ compiler, or one that inductor cannot use
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unsupported(f"did not compile: {reason}") from error
    return peer


def _peer(
    inputs: Inputs,
    function: Callable[[Any, Any], Any],
    stance: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Peer:
    p = as_tensor(inputs.predictions).requires_grad_()
    t = as_tensor(inputs.targets)

    def forward() -> Any:
        with torch.no_grad():
            return function(p, t)

    def gradient() -> tuple[Any, Any]:
        p.grad = None
        value = function(p, t)
        value.backward()
        return value, p.grad

    def forget() -> None:
        p.grad = None

    @contextmanager
    def while_called() -> Iterator[None]:
        with stance(), _threads(inputs.threads):
            yield
            # Other users of OpenMP can change it under PyTorch's feet.
            if torch.get_num_threads() != inputs.threads:
                raise RuntimeError("PyTorch's number of threads changed while it was timed")

    return Peer(forward, gradient, while_called, forget)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_tensor(array: Array) -> Any:
    """Return a tensor over the same memory; PyTorch does not know NumPy's bfloat16."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)
