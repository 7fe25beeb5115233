"""PTX of the kernels, and what NVIDIA's assembler says of it: no GPU is needed for either."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

ARCHITECTURES = ((8, 0), (9, 0))


def find_ptxas() -> str | None:
    """The assembler of CUDA's compiler wheel, or of an installed toolkit."""
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations) if spec else []
    found = [path for root in roots for path in Path(root).glob("**/bin/ptxas")]
    return str(found[0]) if found else shutil.which("ptxas")


def missing() -> str | None:
    """Why nothing can be assembled here; None if it can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed"
    if find_ptxas() is None:
        return "there is no ptxas (pip install nvidia-cuda-nvcc)"
    from numba.cuda.cudadrv import nvvm

    return None if nvvm.is_available() else "there is no libNVVM (pip install nvidia-nvvm)"


def pretend_device(device, patch):
    """Put a stand-in for the current device, which Numba asks where functions call functions.

    `patch(object, name, value)` sets an attribute.
    """
    import numba.cuda.dispatcher  # noqa: F401  (loads every module that asks)

    for name, module in list(sys.modules.items()):
        if name.startswith("numba") and hasattr(module, "get_current_device"):
            patch(module, "get_current_device", lambda: device)


def compile_ptx(kernel, monkeypatch, capabilities=ARCHITECTURES) -> dict:
    """PTX of a kernel for each architecture.

    Compiled as in a call for the first one; the others come from the same intermediate code,
    which spares most of the time.
    """
    from numba.cuda.codegen import CUDACodeLibrary

    first, *others = capabilities
    pretend_device(SimpleNamespace(compute_capability=first, id=0), monkeypatch.setattr)
    libraries, get = [], CUDACodeLibrary.get_asm_strs

    def remember(library, cc=None):
        libraries.append(library)
        return get(library, cc)

    monkeypatch.setattr(CUDACodeLibrary, "get_asm_strs", remember)
    made = {first: kernel.ptx(first)}
    for capability in others:
        (made[capability],) = get(libraries[-1], capability)
    return made


@dataclass(frozen=True)
class Assembled:
    """What `ptxas -v` prints of a kernel."""

    registers: int
    spills: int
    shared: int


def assemble(ptx: str, capability, folder: Path) -> Assembled:
    """Assemble PTX; the sum of what all of its functions spill."""
    source = folder / "kernel.ptx"
    source.write_text(ptx)
    architecture = "sm_" + "".join(map(str, capability))
    result = subprocess.run(
        [find_ptxas(), "-v", f"-arch={architecture}", str(source), "-o", str(folder / "out")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    text = result.stdout + result.stderr
    return Assembled(
        registers=max(map(int, re.findall(r"Used (\d+) registers", text))),
        spills=sum(map(int, re.findall(r"(\d+) bytes spill", text))),
        shared=sum(map(int, re.findall(r"(\d+) bytes smem", text))),
    )


def count(ptx: str, instruction: str) -> int:
    """How many lines of PTX begin with an instruction (a pattern), predicate aside."""
    return len(re.findall(rf"^\s*(?:@!?%p\d+\s+)?{instruction}\b", ptx, re.MULTILINE))


def parameters(ptx: str) -> list[str]:
    """The types of the kernel's parameters."""
    entry = re.search(r"\.entry [^(]*\(([^)]*)\)", ptx)
    assert entry is not None, "no kernel in the PTX"
    return re.findall(r"\.param \.(\w+)", entry.group(1))
