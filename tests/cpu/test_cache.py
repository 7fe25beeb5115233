"""A cached kernel is never stale, and a second process finds what the first one compiled."""

import ast
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fastloss
from tests.helpers import run_python


class Copy:
    """The package in a directory of its own, with a cache of its own, to be edited and run."""

    def __init__(self, root: Path):
        self.root = root
        self.cache = root / "cache"
        ignore = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
        shutil.copytree(Path(fastloss.__file__).parent, root / "fastloss", ignore=ignore)

    def run(self, code):
        """Run code in a fresh process; what it prints, as JSON."""
        prelude = "import inspect, json, numpy as np, fastloss as fl, fastloss.jit as fj\n"
        out = run_python(prelude + code, python_path=self.root, NUMBA_CACHE_DIR=self.cache).stdout
        return json.loads(out)

    def compiled(self):
        """The cache's files and when they were written."""
        return {p: p.stat().st_mtime_ns for p in self.cache.rglob("*.nb[ci]")}

    def source(self, function) -> tuple[Path, int]:
        """Where a function of the copy stands."""
        path, line = self.run(
            f"f = {function}\n"
            "print(json.dumps([inspect.getsourcefile(f), inspect.getsourcelines(f)[1]]))"
        )
        assert Path(path).is_relative_to(self.root), "the copy is not what runs"
        return Path(path), line


def three_times(text: str, line: int) -> str:
    """The source with the last return value of the function at `line` tripled."""
    tree = ast.parse(text)
    function = next(
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef) and n.lineno >= line >= _first_line(n)
    )
    value = [n for n in ast.walk(function) if isinstance(n, ast.Return)][-1].value
    lines = text.splitlines(keepends=True)
    last, first = value.end_lineno - 1, value.lineno - 1
    lines[last] = lines[last][: value.end_col_offset] + ")" + lines[last][value.end_col_offset :]
    lines[first] = lines[first][: value.col_offset] + "3 * (" + lines[first][value.col_offset :]
    return "".join(lines)


def _first_line(function):
    return min([function.lineno, *(d.lineno for d in function.decorator_list)])


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


MSE = "print(json.dumps(float(fl.mse(np.full((4, 3), 4.0), np.zeros((4, 3))))))"
SOFT_MARGIN = "print(json.dumps(float(fl.soft_margin(np.zeros(4), np.ones(4)))))"


def test_an_edited_formula_changes_the_result(copy):
    """And edited back it is the old one again, from the cache."""
    path, line = copy.source("fj.mse_value")
    assert copy.run(MSE) == 8.0
    original = path.read_text()
    path.write_text(three_times(original, line))
    assert copy.run(MSE) == 24.0
    path.write_text(original)
    before = copy.compiled()
    assert copy.run(MSE) == 8.0
    assert copy.compiled() == before, "compiled again although nothing had changed"


def test_an_edited_building_block_changes_the_result(copy):
    """A formula in another file than the kernel's and the loss'.

    Numba's own cache would not see it.
    """
    path, line = copy.source("fj.softplus")
    before = copy.run(SOFT_MARGIN)
    path.write_text(three_times(path.read_text(), line))
    assert copy.run(SOFT_MARGIN) != pytest.approx(before)


def test_a_second_process_compiles_nothing(copy):
    """No new file, and every kernel a hit: serial and parallel, over classes and not."""
    code = """
from fastloss.cpu.compile import KERNELS
for shape in ((4, 3), (3000, 101)):
    x = np.full(shape, 0.25, np.float32)
    fl.cross_entropy.value_and_grad(x, np.zeros(shape[0], int))
    fl.mse.value_and_grad(x, x)
compiled = [k.compiled for k in KERNELS if "compiled" in vars(k)]
print(json.dumps([len(compiled), sum(k.cache_hits for k in compiled)]))
"""
    count, hits = copy.run(code)
    assert count >= 3 and hits == 0
    files = copy.compiled()
    assert len(files) >= count
    assert copy.run(code) == [count, count]
    assert copy.compiled() == files


def test_kernels_of_different_processes_do_not_take_each_others_place(copy):
    """Numba numbers what it compiles in each process from 1.

    Two variants, each compiled as its process' first, can share their symbol's name; a third
    process that loads both from the cache must not run one in the place of the other.
    """
    wide = "float(fl.cross_entropy(np.eye(3), np.arange(3)))"
    narrow = "fl.cross_entropy.grad_and_hess(np.eye(3, dtype='f4'), np.arange(3))[1].tolist()"
    value_and_grad = "fl.cross_entropy.value_and_grad(np.eye(3), np.arange(3))[1].tolist()"
    answers = [copy.run(f"print(json.dumps({c}))") for c in (value_and_grad, wide, narrow)]
    for order in ((0, 1, 2), (2, 1, 0)):
        calls = ", ".join((value_and_grad, wide, narrow)[i] for i in order)
        assert copy.run(f"print(json.dumps([{calls}]))") == [answers[i] for i in order]


OWN = """
import fastloss as fl
from helper import half

def value(p, y):
    return half(p - y) * (p - y)

def grad(p, y):
    return p - y

loss = fl.pointwise_loss("own", value, grad)
"""
RUN_OWN = "import own\nprint(json.dumps(float(own.loss(np.full(3, 4.0), np.zeros(3)))))"


def test_an_edited_formula_of_the_user_changes_the_result(copy):
    """In the file of the loss, and in a file that it imports."""
    own, helper = copy.root / "own.py", copy.root / "helper.py"
    half = "from numba import njit\n\n@njit\ndef half(x):\n    return 0.5 * x\n"
    own.write_text(OWN)
    helper.write_text(half)
    assert copy.run(RUN_OWN) == 8.0
    own.write_text(OWN.replace("half(p - y)", "3 * half(p - y)"))
    assert copy.run(RUN_OWN) == 24.0
    own.write_text(OWN)
    assert copy.run(RUN_OWN) == 8.0
    helper.write_text(half.replace("0.5", "1.5"))
    assert copy.run(RUN_OWN) == 24.0
    helper.write_text(half)
    before = copy.compiled()
    assert copy.run(RUN_OWN) == 8.0
    assert copy.compiled() == before


#: Where a formula can have a number from, and what it depends on; {} is the number.
REFERRED = {
    "a module's number": ("import settings", "settings.SCALE"),
    "a submodule's number": ("import pk.sub", "pk.sub.SCALE"),
    "a submodule's function": ("import pk.sub", "pk.sub.scale()"),
    "a helper's module": ("from helper import scale", "scale()"),
    "a module's array": ("import settings", "settings.ALL[0]"),
    "a ninth digit": ("import numpy as np\nX = np.array([1.00000000{}])", "(X[0] - 1.0) * 1e9"),
    "a long array": ("import numpy as np\nX = np.ones(3000)\nX[1500] = {}", "X[1500]"),
    "a function inside": ("X = {}", "(lambda: X)()"),
    "a function of no module": (
        "import numba\nd = dict()\nexec('def X(): return {}', d)\nX = numba.njit(d['X'])",
        "X()",
    ),
    "a member": ("import enum\nclass E(enum.IntEnum):\n    A = {}", "E.A.value"),
    "the order of fields": (
        "from collections import namedtuple\nX = namedtuple('X', 'a b' if {} == 2 else 'b a')",
        "X(2.0, 3.0).a",
    ),
}
MODULES = {
    "settings": "import numpy as np\nSCALE = {}\nALL = np.array([{}])",
    "pk/__init__": "",
    "pk/sub": "import numba\nSCALE = {}\n@numba.njit\ndef scale(): return {}",
    "helper": "import numba, settings\n@numba.njit\ndef scale(): return settings.SCALE",
}
SCALED = """
import fastloss as fl

def value(p, y):
    return SCALE * p

loss = fl.pointwise_loss("own", value, lambda p, y: 1.0)
"""


def test_what_a_formula_refers_to_changes_the_result(copy):
    """Wherever it stands: compiled anew, and what it was before is found again."""
    files = {
        f"own{k}": f"{imports}\n{SCALED.replace('SCALE', scale)}"
        for k, (imports, scale) in enumerate(REFERRED.values())
    }
    run = (
        "import importlib\n"
        f"losses = [importlib.import_module(f'own{{k}}').loss for k in range({len(files)})]\n"
        "print(json.dumps([float(loss(np.ones(2), np.ones(2))) for loss in losses]))"
    )
    for scale in (2, 3, 2):
        for name, text in (files | MODULES).items():
            path = copy.root / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("{}", str(scale)))
            shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
        before = copy.compiled()
        expected = dict.fromkeys(REFERRED, scale)
        assert dict(zip(REFERRED, copy.run(run), strict=True)) == pytest.approx(expected)
    assert copy.compiled() == before


def test_processes_that_fill_the_cache_at_once(copy):
    """Four cold starts at the same time: none crashes, all agree (numba#4807)."""
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: copy.run(MSE), range(4))) == {8.0}


def test_without_numbas_compiler():
    run_python(
        """
        import numpy as np, fastloss as fl
        try:
            fl.mse(np.zeros(2), np.zeros(2))
        except RuntimeError as error:
            assert "NUMBA_DISABLE_JIT" in str(error)
        else:
            raise AssertionError("not refused")
        """,
        NUMBA_DISABLE_JIT=1,
    )


def test_nowhere_to_write(copy):
    """A cache directory that cannot be made: compiled anew, but computed."""
    copy.cache.write_text("a file, not a directory")
    assert copy.run(MSE) == 8.0
