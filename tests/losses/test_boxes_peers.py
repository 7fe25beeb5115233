"""The losses between boxes beside torchvision's, which are written here in PyTorch's operations."""

import math

import numpy as np
import pytest

import fastloss as fl
from tests.helpers import each

torch = pytest.importorskip("torch")


def split(p, t):
    """The sides of both boxes: (x1, y1, x2, y2) of each."""
    return (*p.unbind(-1), *t.unbind(-1))


def inter_union(p, t):
    """torchvision's `_loss_inter_union`."""
    x1, y1, x2, y2, x1g, y1g, x2g, y2g = split(p, t)
    left, top = torch.max(x1, x1g), torch.max(y1, y1g)
    right, bottom = torch.min(x2, x2g), torch.min(y2, y2g)
    inter = torch.zeros_like(x1)
    mask = (bottom > top) & (right > left)
    inter[mask] = (right[mask] - left[mask]) * (bottom[mask] - top[mask])
    return inter, (x2 - x1) * (y2 - y1) + (x2g - x1g) * (y2g - y1g) - inter


def enclosing(p, t):
    x1, y1, x2, y2, x1g, y1g, x2g, y2g = split(p, t)
    wide = torch.max(x2, x2g) - torch.min(x1, x1g)
    return wide, torch.max(y2, y2g) - torch.min(y1, y1g)


def giou(p, t, eps):
    """torchvision's `generalized_box_iou_loss`."""
    inter, union = inter_union(p, t)
    wide, high = enclosing(p, t)
    return 1 - (inter / (union + eps) - (wide * high - union) / (wide * high + eps))


def diou(p, t, eps):
    """torchvision's `distance_box_iou_loss`."""
    inter, union = inter_union(p, t)
    wide, high = enclosing(p, t)
    x1, y1, x2, y2, x1g, y1g, x2g, y2g = split(p, t)
    far = ((x2 + x1) / 2 - (x1g + x2g) / 2) ** 2 + ((y2 + y1) / 2 - (y1g + y2g) / 2) ** 2
    return 1 - inter / (union + eps) + far / (wide**2 + high**2 + eps)


def ciou(p, t, eps):
    """torchvision's `complete_box_iou_loss`, with one eps for all of it."""
    inter, union = inter_union(p, t)
    x1, y1, x2, y2, x1g, y1g, x2g, y2g = split(p, t)
    angle, angle_g = torch.atan((x2 - x1) / (y2 - y1)), torch.atan((x2g - x1g) / (y2g - y1g))
    v = (4 / math.pi**2) * (angle_g - angle) ** 2
    with torch.no_grad():
        alpha = v / (1 - inter / (union + eps) + v + eps)
    return diou(p, t, eps) + alpha * v


PEERS = {"giou": giou, "diou": diou, "ciou": ciou}


def theirs(name, p, t, reduction, eps):
    """(loss, gradient, diagonal of the hessian) by autograd."""
    x = torch.from_numpy(p).requires_grad_()
    rows = PEERS[name](x, torch.from_numpy(t), eps)
    loss = rows if reduction == "none" else getattr(rows, reduction)()
    (grad,) = torch.autograd.grad(loss.sum(), x, create_graph=True)
    hess = [torch.autograd.grad(grad[:, c].sum(), x, retain_graph=True)[0][:, c] for c in range(4)]
    return loss.detach().numpy(), grad.detach().numpy(), torch.stack(hess, 1).numpy()


def assert_agree(name, p, t, reduction="none", eps=1e-7):
    call = {"reduction": reduction, "eps": eps}
    loss, grad = getattr(fl, name).value_and_grad(p, t, **call)
    _, hess = getattr(fl, name).grad_and_hess(p, t, **call)
    for ours, other in zip((loss, grad, hess), theirs(name, p, t, reduction, eps), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-12)


def boxes(rng, count, size):
    return size * np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1).reshape(count, 4)


@each("eps", [1e-7, 0.5])
@each("size", [1.0, 1000.0])
@each("name", PEERS)
def test_random_boxes(name, size, eps, rng):
    p, t = boxes(rng, 300, size), boxes(rng, 300, size)
    p[::2] = t[::2] + 0.05 * size * rng.uniform(-1, 1, (150, 4))  # some are inverted now
    p = np.where(p[:, [3]] > p[:, [1]], p, t)  # but none in height
    assert_agree(name, p, t, eps=eps)


@each("reduction", ["mean", "sum"])
@each("name", PEERS)
def test_reductions(name, reduction, rng):
    assert_agree(name, boxes(rng, 30, 9.0), boxes(rng, 30, 9.0), reduction)


@each("name", PEERS)
def test_ties_touching_and_flat_boxes(name, rng):
    """Edges at few whole numbers are often equal; PyTorch's maxima split a tie as well."""
    p, t = (rng.integers(0, 5, (3000, 2, 2)).astype(float) for _ in range(2))
    p.sort(1), t.sort(1)
    p, t = p.reshape(-1, 4), t.reshape(-1, 4)
    if name == "ciou":  # torchvision's has no gradient for a height of 0
        high = (p[:, 3] > p[:, 1]) & (t[:, 3] > t[:, 1])
        p, t = p[high], t[high]
    assert (p == t).all(1).any() and (p[:, 0] == t[:, 2]).any() and (p[:, 0] == p[:, 2]).any()
    around = np.maximum(p, t)[:, 2:] - np.minimum(p, t)[:, :2]
    solid = (around > 0).all(1)  # 1 / eps takes the digits of the others
    assert_agree(name, p[solid], t[solid])
