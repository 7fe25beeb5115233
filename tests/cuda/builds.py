"""The list of kernels that are compiled to PTX and assembled, and what must hold of each."""

import importlib

import fastloss as fl
from fastloss.spec import PointwiseSpec, RowSpec
from tests.catalogue import CORE
from tests.cuda import assembly

LEAN, FULL, REGISTERS = 64, 160, 65536
"""Registers of a thread: at most, for kernels of which 1024 threads run at a time, and others;
of a multiprocessor."""

LOSS_GRAD = (True, True, False, False)
GRAD_HESS = (False, True, True, False)
LOSS = (True, False, False, False)
DTYPES = ("float32", "bfloat16", "float16", "float64")
WIDE_LOAD = WIDE_STORE = {"float32": r"v4\.f32", "float64": r"v2\.f64"}
WORDS = r"v4\.(u32|b32)"


def mappings():
    """(threads, group): a thread, a part of a warp, a warp, a block."""
    from fastloss.cuda.class_plan import ROWS
    from fastloss.cuda.primitives import LARGE, WARP

    return [*[(threads, group) for _, threads, group in ROWS], (LARGE * WARP, LARGE * WARP)]


class Build:
    """A kernel of the list; `make` is called late: it imports numba.cuda.

    `wide`: it moves 16 bytes at a time, where it reads and where it writes; `load` and `store` are
    the instructions for that, if they are not those of the dtype.
    """

    def __init__(
        self, name, make, dtype, wide=True, reads=True, writes=True, load=None, store=None
    ):  # fmt: skip
        self.name, self.make, self.dtype = name, make, dtype
        self.wide, self.reads, self.writes = wide, reads, writes
        self.load = load or rf"ld\.global\.{WIDE_LOAD.get(dtype, WORDS)}"
        self.store = store or rf"st\.global\.cs\.{WIDE_STORE.get(dtype, WORDS)}"

    def __str__(self):
        return f"{self.name}-{self.dtype}"


def class_kernel(
    family, dtype, mapping, *, soft=False, mass=False, weighted=False, link="IDENTITY",
    outputs=LOSS_GRAD, plain=True, turns=None, classes=None, spec=None,
):  # fmt: skip
    """`turns`: the classes of a row that is read in turns; `classes`: those of a tile.

    `spec`: of a family of losses.
    """

    def make():
        from fastloss.cuda.class_plan import with_turns
        from fastloss.cuda.memory import STORAGE
        from fastloss.cuda.variant import ClassVariant, Mapping, Outputs

        formulas = importlib.import_module("fastloss.losses.softmax")
        module = importlib.import_module(f"fastloss.cuda.{family}")
        targets = dtype if soft else "float32"
        variant = ClassVariant(
            dtype, targets, soft, mass or soft, weighted, getattr(formulas, link), Outputs(*outputs)
        )
        threads, group = mappings()[mapping]
        laid_out = Mapping(threads, group, group > 1, plain)
        if turns is not None:
            itemsize, grad = STORAGE[dtype].itemsize, variant.outputs.grad
            laid_out = with_turns(laid_out, turns, itemsize, grad)._replace(wide=True)
        sizes = {} if classes is None else {"classes": classes}
        specs = () if spec is None else (spec,)
        return module.compute_kernel(*specs, variant, laid_out, **sizes)

    return make


def row_kernel(loss, dtype, mapping, *, soft=False, outputs=LOSS_GRAD, plain=True, strided=False):
    def make():
        from fastloss.cuda.row_losses import compute_kernel
        from fastloss.cuda.variant import Mapping, Outputs, RowVariant

        variant = RowVariant(dtype, dtype if soft else "float32", soft, Outputs(*outputs))
        threads, group = mappings()[mapping]
        wide = group > 1 and not strided
        return compute_kernel(loss.spec, variant, Mapping(threads, group, wide, plain, strided))

    return make


def pointwise_kernel(loss, dtype, *, targets=None, outputs=LOSS_GRAD, plain=True, weighted=False):
    def make():
        from fastloss.cuda.pointwise import compute_kernel
        from fastloss.cuda.pointwise_plan import constants_of
        from fastloss.cuda.variant import Outputs, PointwiseVariant

        options = loss.spec.options
        constants = constants_of(options, [option.default for option in options])
        variant = PointwiseVariant(
            dtype, targets or dtype, weighted, (False,) * len(options), Outputs(*outputs), constants
        )
        return compute_kernel(loss.spec, variant, wide=plain, plain=plain)

    return make


def distance_kernel(loss, dtype, *, norm=2, pairs=1, outputs=LOSS_GRAD):
    def make():
        from fastloss.cuda.distances import compute_kernel
        from fastloss.cuda.variant import Outputs
        from fastloss.variant import DistanceVariant

        return compute_kernel(loss.spec, DistanceVariant(dtype, norm, pairs, Outputs(*outputs)))

    return make


def similarity_kernel(module, maker, *arguments):
    def make():
        return getattr(importlib.import_module(f"fastloss.cuda.{module}"), maker)(*arguments)

    return make


def builds():
    for dtype in DTYPES:
        for mapping, name in enumerate(("thread", "part", "warp", "block", "large")):
            make = class_kernel("softmax_rows", dtype, mapping)
            yield Build(f"softmax_rows-{name}", make, dtype, wide=mapping > 0)
        for turns in (1024, 1025, 2**15, 2**15 + 1):
            for outputs in (LOSS, LOSS_GRAD):
                make = class_kernel("softmax_rows", dtype, 2, turns=turns, outputs=outputs)
                name = f"turns-{turns}-{'grad' if outputs is LOSS_GRAD else 'loss'}"
                writes = outputs is LOSS_GRAD
                yield Build(name, make, dtype, writes=writes, load=rf"ld\.global\.{WORDS}")
        for classes in (2, 10, 31):
            tile = class_kernel("softmax_tiles", dtype, 0, classes=classes)
            copy = r"cp\.async\.cg\.shared\.global", rf"st\.global\.cs\.{WORDS}"
            yield Build(f"tiles-{classes}", tile, dtype, load=copy[0], store=copy[1])
        spec = fl.categorical_cross_entropy.spec
        separable = class_kernel("separable", dtype, 2, mass=True, spec=spec)
        yield Build("categorical_cross_entropy", separable, dtype)
        nll = class_kernel("separable", dtype, 2, spec=fl.nll.spec)
        yield Build("nll", nll, dtype, reads=False)
        yield Build("soft", class_kernel("softmax_rows", dtype, 4, soft=True), dtype)
    for name, call in {
        "loss-only": {"outputs": LOSS},
        "smoothed": {"mass": True},
        "capped": {"link": "SOFTCAPPED"},
        "hessian": {"outputs": GRAD_HESS},
        "general": {"plain": False},
        "everything": {
            "soft": True, "weighted": True, "link": "SOFTCAPPED", "outputs": GRAD_HESS,
            "plain": False,
        },
    }.items():  # fmt: skip
        for mapping in (2, 4):
            make = class_kernel("softmax_rows", "bfloat16", mapping, **call)
            writes = call.get("outputs") is not LOSS
            yield Build(f"softmax_rows-{name}-{mapping}", make, "bfloat16", writes=writes)
    for loss in fl.losses():
        if isinstance(loss.spec, RowSpec):
            soft, reads = loss.spec.vectors, bool(loss.spec.rounds)
            make = row_kernel(loss, "float32", 2, soft=soft)
            # Those between boxes read single entries, and make all derivatives of them.
            alone = loss.spec.classes is not None
            yield Build(loss.name, make, "float32", wide=reads, reads=not alone)
            hessian = row_kernel(loss, "float64", 0, soft=soft, outputs=GRAD_HESS, plain=False)
            yield Build(f"{loss.name}-hessian", hessian, "float64", wide=False)
    for mapping in (1, 4):
        make = row_kernel(fl.sparsemax, "bfloat16", mapping)
        yield Build(f"sparsemax-{mapping}", make, "bfloat16")
        for dtype in ("float32", "bfloat16"):
            make = row_kernel(
                fl.tversky, dtype, mapping, soft=True, outputs=GRAD_HESS, plain=False, strided=True
            )
            yield Build(f"tversky-strided-{mapping}", make, dtype, wide=False)
    for loss in fl.losses():
        if isinstance(loss.spec, PointwiseSpec):
            # Twice as many numbers at a time as in float32, by the same formula: more registers.
            for dtype in ("bfloat16", "float32")[: 2 if loss.name in CORE else 1]:
                yield Build(loss.name, pointwise_kernel(loss, dtype), dtype)
    for loss, pairs in ((fl.contrastive, 1), (fl.triplet, 2)):
        make = distance_kernel(loss, "float32", pairs=pairs)
        yield Build(loss.name, make, "float32", wide=False)
    general = distance_kernel(fl.triplet, "bfloat16", norm=0, pairs=3)
    yield Build("triplet-general", general, "bfloat16", wide=False)
    hessian = distance_kernel(fl.triplet, "float64", norm=0, pairs=3, outputs=GRAD_HESS)
    yield Build("triplet-hessian", hessian, "float64", wide=False)
    for dtype in ("float32", "bfloat16"):
        for maker, call in (("prepare_kernel", ()), ("project_kernel", (True,))):
            make = similarity_kernel("similarities", maker, dtype, *call)
            yield Build(f"ntxent-{maker}", make, dtype, wide=False)
    for name, maker, call in (
        ("rows", "compute_kernel", (True, False)),
        ("anchors", "compute_kernel", (False, True)),
        ("exchange", "exchange_kernel", ()),
    ):
        make = similarity_kernel("similarities", maker, "float32", *call)
        yield Build(f"ntxent-{name}", make, "float32", wide=False)
    product = similarity_kernel("products", "product_kernel", "float32")
    yield Build("product", product, "float32", wide=False)
    for dtype in ("float16", "float64"):
        loss = fl.binary_cross_entropy_with_logits
        yield Build(loss.name, pointwise_kernel(loss, dtype), dtype)
    general = pointwise_kernel(fl.hinge, "float32", targets="int64", plain=False, weighted=True)
    yield Build("hinge-general", general, "float32", wide=False)
    hessian = pointwise_kernel(
        fl.binary_cross_entropy_with_logits, "float32", outputs=GRAD_HESS, plain=True
    )
    yield Build("bce-hessian", hessian, "float32")


BUILDS = tuple(builds())


def check(build, monkeypatch, folder):
    """Compile and assemble: nothing is spilled, enough threads fit, 16 bytes move at a time."""
    kernel = build.make()
    for capability, ptx in assembly.compile_ptx(kernel, monkeypatch).items():
        assert f".target sm_{capability[0]}{capability[1]}" in ptx
        assembled = assembly.assemble(ptx, capability, folder)
        assert assembled.spills == 0
        assert assembled.registers <= (LEAN if kernel.lean else FULL)
        assert assembled.registers * kernel.threads <= REGISTERS
        assert assembled.shared <= 48 * 1024
        # No sum of floats whose order is left to chance.
        assert not assembly.count(ptx, r"(atom|red)\.")
        if build.wide:
            assert assembly.count(ptx, build.load) > 0 or not build.reads
            assert assembly.count(ptx, build.store) > 0 or not build.writes
