"""The README's Python runs as it stands."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def group(tmp_path):
    """A group of processes with one member."""
    torch = pytest.importorskip("torch")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield torch.distributed.group.WORLD
    torch.distributed.destroy_process_group()


def test_quickstart(tmp_path):
    names = _run(tmp_path, "import fastloss as fl")
    np.testing.assert_array_equal(names["grad"].sum(axis=1).round(6), 0)
    assert names["rows"].shape == (2,)
    assert names["logits"][0, 0] < 0 < names["logits"][0, 1], "the gradient's place"


def test_pytorch(group, tmp_path):
    import torch

    trained = []
    names = _run(
        tmp_path,
        "import fastloss.torch",
        logits=torch.zeros(2, 4),
        local_logits=torch.zeros(2, 4),
        targets=torch.tensor([1, 3]),
        weight=torch.ones(4),
        group=group,
        train=lambda: trained.append(True),
    )
    assert trained and "loss" in names


def test_a_loss_of_your_own(tmp_path):
    import fastloss as fl

    names = _run(
        tmp_path,
        "fl.pointwise_loss",
        fl=fl,
        predictions=np.array([0.5, 3.0]),
        targets=np.zeros(2),
        weights=np.array([1.0, 3.0]),
    )
    np.testing.assert_allclose(names["loss"], (0.125 + 3 * (1.5 * 3.0 - 1.125)) / 4)
    np.testing.assert_allclose(names["gradient"], [0.125, 3 * 1.5 / 4])


def test_boosters(tmp_path):
    """The libraries' parts are played: tests/objectives has the libraries themselves."""
    import fastloss as fl

    given = []

    def train(parameters, data, obj=None):
        given.append(obj or parameters["objective"])

    _run(
        tmp_path,
        "fastloss.objectives",
        fl=fl,
        data=None,
        xgboost=SimpleNamespace(train=train),
        lightgbm=SimpleNamespace(train=train),
        CatBoostRegressor=lambda loss_function, eval_metric: given.append(loss_function),
    )
    assert [objective.loss for objective in given] == [fl.cross_entropy, fl.huber, fl.mse]


def test_nothing_is_left_out():
    assert len(BLOCKS) == sum(name.startswith("test_") for name in globals()) - 1


def _run(folder, landmark: str, **names):
    """Run the block with the landmark; return what it defined."""
    (block,) = (block for block in BLOCKS if landmark in block)
    script = folder / "block.py"
    script.write_text(block, encoding="utf-8")
    return runpy.run_path(str(script), names)
