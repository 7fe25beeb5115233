"""The modules beside torch's."""

import pytest

torch = pytest.importorskip("torch")

import fastloss.torch as flt  # noqa: E402
from tests.helpers import each  # noqa: E402

LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
SOFT = LOGITS.softmax(1)
CASES = {
    "CrossEntropyLoss": (
        LOGITS,
        torch.tensor([0, 2, 1, -1]),
        {"weight": torch.tensor([1.0, 2.0, 3.0]), "ignore_index": -1, "label_smoothing": 0.1},
    ),
    "BCEWithLogitsLoss": (LOGITS, SOFT, {"weight": SOFT, "pos_weight": torch.ones(3) * 2}),
    "BCELoss": (LOGITS.sigmoid(), SOFT, {"weight": SOFT}),
    "MSELoss": (LOGITS, SOFT, {"reduction": "sum"}),
}


@each("name", CASES)
def test_like_torchs_module(name):
    x, y, arguments = CASES[name]
    ours, theirs = getattr(flt, name)(**arguments), getattr(torch.nn, name)(**arguments)
    torch.testing.assert_close(ours(x, y), theirs(x, y))
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, type(theirs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert all(b.dtype == torch.float64 for b in ours.double().buffers())


@each("name", CASES)
@each("argument", ["size_average", "reduce"])
def test_deprecated_arguments_are_refused(name, argument):
    with pytest.raises(TypeError, match="reduction"):
        getattr(flt, name)(**{argument: True})


def test_hinge():
    loss = flt.HingeLoss(margin=2.0, squared=True, reduction="sum")
    assert loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, -1.0])).item() == 26.0
    assert repr(loss) == "HingeLoss(margin=2.0, squared=True, reduction='sum')"


def test_our_options():
    x, y = LOGITS, torch.tensor([0, 2, 1, 1])
    module = flt.CrossEntropyLoss(z_loss=0.1, logit_scale=2.0, logit_softcap=5.0)
    expected = flt.cross_entropy(x, y, z_loss=0.1, logit_scale=2.0, logit_softcap=5.0)
    assert torch.equal(module(x, y), expected)
    module = flt.BCEWithLogitsLoss(label_smoothing=0.1)
    expected = flt.binary_cross_entropy_with_logits(x, SOFT, label_smoothing=0.1)
    assert torch.equal(module(x, SOFT), expected)
