"""Kernels of 32- and 64-bit dtypes, compiled and assembled for sm_80 and sm_90, without a GPU."""

import pytest

from tests.cuda import assembly
from tests.cuda.builds import BUILDS, check
from tests.helpers import each

pytestmark = pytest.mark.skipif(assembly.missing() is not None, reason=assembly.missing() or "")


@each("build", [build for build in BUILDS if build.dtype not in ("float16", "bfloat16")])
def test_kernel(build, monkeypatch, tmp_path):
    check(build, monkeypatch, tmp_path)
