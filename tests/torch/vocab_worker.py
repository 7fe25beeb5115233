"""One process of the vocabulary-parallel test: its slice against the unsplit loss in torch."""

import math

import torch
import torch.distributed as dist
from torch.nn import functional

import fastloss.torch as flt

CLASSES = 10

CALLS = (
    {},
    {"reduction": "sum", "ignore_index": 3},
    {"reduction": "none", "z_loss": 0.1},
    {"label_smoothing": 0.2, "z_loss": 0.01},
)


def reference(x, y, ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction="mean"):
    """The loss of the whole logits, x of shape (..., C), by torch in float64."""
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1)
    rows = functional.cross_entropy(
        x, y, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="none"
    )
    counts = y != ignore_index
    rows = rows + torch.where(counts, z_loss * x.logsumexp(1).square(), 0.0)
    return {"none": rows, "sum": rows.sum(), "mean": rows.sum() / counts.sum()}[reduction]


def work(rank, world, rendezvous):
    """Run every check; an assertion that fails ends the process and the test."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(3, 7, CLASSES, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (3, 7), generator=generator)
    targets[0, :2] = -100
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for call in CALLS:
            check_slice(rank, world, logits.to(dtype), targets, call)
    masks = logits.clone()
    masks[1, 2, :6] = -torch.inf  # a whole slice of masks
    targets[1, 2] = 8
    check_slice(rank, world, masks, targets, {})
    check_slice(rank, world, logits, targets, CALLS[-1], empty=1)
    check_extremes(rank, world, logits.float(), targets)
    check_scaled_float16(rank, world, generator)
    check_mass_on_masks(rank, world, masks, targets)
    check_dtensor(world, logits, targets)
    check_refusals(logits, targets)
    dist.destroy_process_group()


def check_slice(rank, world, logits, targets, call, empty=0):
    """Loss on every rank, gradient of this rank's slice; slices of unequal length, `empty` of 0."""
    targets = torch.where(targets == -100, call.get("ignore_index", -100), targets)
    whole = logits.double().clone().requires_grad_()
    expected = reference(whole, targets, **call)
    upstream = torch.linspace(0.5, 2.0, expected.numel(), dtype=torch.float64)
    upstream = upstream.reshape(expected.shape)
    expected.backward(upstream)
    slices = [*logits.chunk(world - empty, -1), *[logits[..., :0]] * empty]
    mine = slices[rank].clone().requires_grad_()
    loss = flt.vocab_parallel_cross_entropy(mine, targets, **call)
    loss.backward(upstream.reshape(loss.shape).to(loss.dtype))
    real = torch.float64 if logits.dtype == torch.float64 else torch.float32
    assert loss.dtype == real and mine.grad.dtype == logits.dtype
    tolerance = 50 * torch.finfo(real).eps
    torch.testing.assert_close(
        loss.double(), expected.reshape(loss.shape), rtol=tolerance, atol=tolerance
    )
    first = sum(s.shape[-1] for s in slices[:rank])
    tolerance = max(tolerance, 4 * torch.finfo(logits.dtype).eps)
    torch.testing.assert_close(
        mine.grad.double(),
        whole.grad[..., first : first + mine.shape[-1]],
        rtol=tolerance,
        atol=tolerance,
    )


def check_extremes(rank, world, logits, targets):
    """Finite losses of logits whose log-sum-exp has no square in float32."""
    extreme = logits.clone()
    extreme[1, 1] = torch.finfo(torch.float32).min
    extreme[1, 3] *= 1e20
    for reduction in ("mean", "none"):
        check_slice(rank, world, extreme, targets, {"reduction": reduction})


def check_scaled_float16(rank, world, generator):
    """A loss that is scaled keeps the gradients that its mean alone would lose."""
    scale = 65536.0
    logits = (2 * torch.randn(4096, 16, generator=generator)).half()
    targets = torch.randint(0, 16, (4096,), generator=generator)
    targets[:5] = -100
    for reduction, call in (("mean", {}), ("mean", CALLS[-1]), ("sum", {}), ("none", {})):
        factor = 1.0 if reduction != "mean" else scale
        whole = logits.double().requires_grad_()
        (reference(whole, targets, **call, reduction=reduction) * factor).sum().backward()
        mine = logits.chunk(world, -1)[rank].clone().requires_grad_()
        loss = flt.vocab_parallel_cross_entropy(mine, targets, **call, reduction=reduction)
        (loss * factor).sum().backward()
        assert mine.grad.dtype == torch.float16
        # One rounding, to at least the smallest step.
        torch.testing.assert_close(
            mine.grad.double(),
            whole.grad.chunk(world, -1)[rank],
            rtol=torch.finfo(torch.float16).eps,
            atol=2.0**-24,
        )


def check_mass_on_masks(rank, world, masks, targets):
    """Smoothing gives masks mass, and them an infinite loss, also where the label has none."""
    mine = masks.chunk(world, -1)[rank]
    loss = flt.vocab_parallel_cross_entropy(mine, targets, label_smoothing=1.0, reduction="none")
    assert loss[1, 2] == torch.inf and loss.isnan().sum() == 0
    on_mask = torch.full_like(targets, 2)
    loss = flt.vocab_parallel_cross_entropy(mine, on_mask, label_smoothing=1.0, reduction="none")
    assert loss[1, 2] == torch.inf and loss.isnan().sum() == 0


def check_dtensor(world, logits, targets):
    """Logits sharded on the class axis, as tensor parallelism leaves them."""
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    mesh = init_device_mesh("cpu", (world,))
    sharded = distribute_tensor(logits, mesh, [Shard(2)]).requires_grad_()
    flt.vocab_parallel_cross_entropy(sharded, targets).backward()
    whole = logits.clone().requires_grad_()
    reference(whole, targets).backward()
    torch.testing.assert_close(sharded.grad.full_tensor(), whole.grad)
    by_rows = distribute_tensor(logits, mesh, [Shard(0)])
    assert "class axis" in refusal(ValueError, by_rows, targets)


def check_refusals(logits, targets):
    """Every rank refuses alike, so none is left waiting."""
    wrong = targets.clone()
    wrong[2, 3] = 4 * CLASSES
    assert "(2, 3)" in refusal(IndexError, logits, wrong)
    assert "shape" in refusal(ValueError, logits, targets[:2])
    assert "float32" in refusal(TypeError, logits, targets.float())
    assert "bool" in refusal(TypeError, logits, targets > 3)
    assert "int64" in refusal(TypeError, logits.long(), targets)
    assert "reduction" in refusal(ValueError, logits, targets, reduction="median")
    assert "axis" in refusal(ValueError, logits[0, 0, 0], targets[0, 0])
    assert "(3, 7, 0)" in refusal(ValueError, logits[..., :0], targets)
    for name, value in (
        ("z_loss", math.nan),
        ("z_loss", math.inf),
        ("label_smoothing", 1.5),
        ("label_smoothing", [0.1]),
        ("ignore_index", 2.5),
    ):
        text = refusal((TypeError, ValueError), logits, targets, **{name: value})
        assert name in text, text


def refusal(kind, logits, targets, **call):
    """The text of the error."""
    try:
        flt.vocab_parallel_cross_entropy(logits, targets, **call)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind}")
