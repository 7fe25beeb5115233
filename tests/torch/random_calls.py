"""Random calls of torch's losses: valid ones of every form, and malformed ones."""

import torch

REDUCTIONS = ("mean", "sum", "none")

#: name -> function (random generator) -> (input, target, keywords); inputs are float64.
MAKERS = {}


class Draw:
    """Random choices, the same for the same seed."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def integer(self, low, high):
        return int(torch.randint(low, high, (), generator=self.generator))

    def chance(self, p):
        return float(torch.rand((), generator=self.generator)) < p

    def choice(self, items):
        return items[self.integer(0, len(items))]

    def uniform(self, low, high, shape=()):
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def normal(self, shape):
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def indices(self, high, shape):
        return torch.randint(0, high, shape, generator=self.generator)

    def shape(self):
        """Small shapes, now and then empty or 0-d."""
        sizes = [self.integer(1, 6) for _ in range(self.integer(0, 4))]
        if sizes and self.chance(0.05):
            sizes[0] = 0
        return tuple(sizes)

    def layout(self, x):
        """The same values, perhaps laid out differently."""
        kind = self.integer(0, 4)
        if kind == 1 and x.ndim > 1:
            return x.transpose(0, -1).contiguous().transpose(0, -1)
        if kind == 2 and x.ndim > 0:
            return x.repeat_interleave(2, -1)[..., ::2]
        if kind == 3 and x.ndim == 4:
            return x.to(memory_format=torch.channels_last)
        return x


def maker(function):
    MAKERS[function.__name__] = function
    return function


@maker
def cross_entropy(draw):
    classes = draw.integer(1, 9) if draw.chance(0.8) else draw.integer(64, 90)
    rest = draw.shape()
    shape = (rest[0], classes, *rest[1:]) if rest else (classes,)
    x = draw.normal(shape) * draw.choice([1.0, 10.0])
    call = {}
    if draw.chance(0.3):
        call["weight"] = draw.uniform(0.0, 2.0, (classes,))
    if draw.chance(0.3):
        call["label_smoothing"] = float(draw.uniform(0.0, 1.0))
    if draw.chance(0.3):
        y = draw.normal(shape).softmax(1 if rest else 0)
    else:
        y = draw.indices(classes, rest)
        if draw.chance(0.4):
            call["ignore_index"] = draw.choice([-100, -1, 0, classes - 1])
            ignored = draw.uniform(0, 1, rest) < draw.choice([0.2, 1.0])
            y = torch.where(ignored, call["ignore_index"], y)
    return x, y, call


@maker
def nll_loss(draw):
    x, y, call = cross_entropy(draw)
    call.pop("label_smoothing", None)
    x = x.log_softmax(1 if x.ndim > 1 else 0)
    return x, y if not y.is_floating_point() else y.argmax(1 if x.ndim > 1 else 0), call


@maker
def binary_cross_entropy(draw):
    shape = draw.shape()
    x, y = draw.uniform(0.0, 1.0, shape), draw.uniform(0.0, 1.0, shape)
    if draw.chance(0.2):
        x = x.round()  # 0 and 1, where the logarithms are clamped
    return x, y.round() if draw.chance(0.5) else y, _weight(draw, shape)


@maker
def binary_cross_entropy_with_logits(draw):
    shape = draw.shape()
    x, y = draw.normal(shape) * draw.choice([1.0, 30.0]), draw.uniform(0.0, 1.0, shape)
    call = _weight(draw, shape)
    if draw.chance(0.3):
        call["pos_weight"] = draw.uniform(0.5, 2.0, shape[-1:])
    return x, y.round() if draw.chance(0.5) else y, call


@maker
def mse_loss(draw):
    shape = draw.shape()
    weight = {"weight": draw.uniform(0.1, 2.0, shape)} if draw.chance(0.3) else {}
    return draw.normal(shape), draw.normal(shape), weight


@maker
def hinge_embedding_loss(draw):
    shape = draw.shape()
    x, y = draw.uniform(0.0, 3.0, shape), draw.normal(shape).sign()
    return x, y, {"margin": float(draw.uniform(0.1, 2.0))} if draw.chance(0.5) else {}


@maker
def soft_margin_loss(draw):
    shape = draw.shape()
    return draw.normal(shape) * 3, draw.normal(shape).sign(), {}


def _weight(draw, shape):
    if not draw.chance(0.4):
        return {}
    return {"weight": draw.uniform(0.1, 2.0, draw.choice([shape, shape[-1:], ()]))}


def spoil(draw, name, x, y, call):
    """One mistake that torch refuses."""
    mistakes = [
        lambda: (x[None], y, call) if name != "cross_entropy" else (x, y[None, None], call),
        lambda: (x, y, call | {"reduction": "median"}),
        lambda: (x.to(torch.complex64), y, call),
    ]
    if name == "cross_entropy":
        classes = x.shape[1 if x.ndim > 1 else 0]
        mistakes += [
            lambda: (x, torch.full(_rest(x), classes), call),
            lambda: (x, torch.full(_rest(x), -7), call),
            lambda: (x, y, call | {"label_smoothing": 1.5}),
            lambda: (x, y, call | {"weight": torch.ones(classes + 1, dtype=x.dtype)}),
        ]
    return draw.choice(mistakes)()


def _rest(x):
    return (x.shape[0], *x.shape[2:]) if x.ndim > 1 else ()
