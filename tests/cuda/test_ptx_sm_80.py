"""Every family of kernels and every dtype, compiled and assembled for sm_80; needs no GPU."""

import pytest

from tests.cuda import assembly
from tests.cuda.builds import BUILDS, check
from tests.helpers import each

pytestmark = pytest.mark.skipif(assembly.missing() is not None, reason=assembly.missing() or "")


@each("build", BUILDS)
def test_kernel(build, monkeypatch, tmp_path):
    check(build, (8, 0), monkeypatch, tmp_path)
