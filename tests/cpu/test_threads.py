"""Safety.

Many threads at once, forks after use, on each threading layer, and the same bits for any thread
count.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.helpers import run_python

LAYERS = ("tbb", "omp", "workqueue")

# pip's tbb lies where the loader does not look by itself.
LIBRARIES = os.pathsep.join(
    filter(None, [str(Path(sys.prefix, "lib")), os.environ.get("LD_LIBRARY_PATH")])
)

INPUTS = """
import hashlib, os, sys, threading
import numba, numpy as np
import fastloss as fl

rng = np.random.default_rng(5)
logits = rng.standard_normal((3001, 100)).astype(np.float32)
targets = rng.integers(0, 100, 3001)
wide = rng.standard_normal((40, 8200)).astype(np.float32)
few = rng.standard_normal((70001, 3))
images = rng.standard_normal((4, 21, 64, 65)).astype(np.float32)
weight = rng.uniform(0, 2, 3001)

def results():
    yield from fl.cross_entropy.value_and_grad(logits, targets)
    yield from fl.mse.value_and_grad(logits, np.zeros_like(logits))

def more_results():
    yield from results()
    weights = {"sample_weight": weight, "class_weight": weight[:100]}
    yield from fl.cross_entropy.value_and_grad(logits, targets, **weights)
    yield from fl.cross_entropy.value_and_grad(wide, np.arange(40))
    yield from fl.cross_entropy.value_and_grad(few, np.arange(70001) % 3)
    yield from fl.cross_entropy.value_and_grad(images, np.zeros((4, 64, 65), int), axis=1)
    soft = np.full(wide.shape, 1 / 8200, np.float32)
    yield from fl.cross_entropy.value_and_grad(wide, soft)
    yield from fl.binary_cross_entropy_with_logits.value_and_grad(few, np.ones_like(few))
    yield from fl.hinge.value_and_grad(wide, np.ones_like(wide))
    yield fl.mse(few, np.zeros_like(few), reduction="sum")
    yield fl.cross_entropy(few, np.arange(70001) % 3)

def digest(answers=results):
    return hashlib.sha256(b"".join(a.tobytes() for a in answers())).hexdigest()
"""


@pytest.fixture(scope="module", params=LAYERS)
def layer(request):
    """A threading layer that this machine has, by name."""
    code = """
    import numba, numpy as np
    @numba.njit(parallel=True)
    def f(n):
        s = 0
        for i in numba.prange(n):
            s += i
        return s
    f(10)
    """
    if run_in(request.param, code, check=False).returncode != 0:
        pytest.skip(f"no {request.param} here")
    return request.param


def run_in(layer, code, threads=4, **more):
    """Run in a process with this layer."""
    return run_python(
        code,
        NUMBA_THREADING_LAYER=layer,
        NUMBA_NUM_THREADS=threads,
        LD_LIBRARY_PATH=LIBRARIES,
        **more,
    )


def test_many_threads_at_once(layer):
    """Eight threads start together, the very first call included.

    Every result has the serial one's bits.
    """
    out = run_in(
        layer,
        INPUTS
        + """
answers, start = [], threading.Barrier(8)

def work():
    start.wait()
    for _ in range(10):
        answers.append(digest())

threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
assert len(answers) == 80
numba.set_num_threads(1)
assert set(answers) == {digest()}, "threads disturb each other"
print("layer", numba.threading_layer())
""",
    ).stdout
    assert f"layer {layer}" in out


FORK = """
def in_child(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            import signal
            signal.alarm(60)
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"child died with status {status}"

def compare():
    assert digest() == expected

expected = digest()
"""


def run_with_forks(layer, code):
    """Run in a process with this layer, which has run in parallel."""
    return run_in(layer, INPUTS + FORK + code)


def test_fork_after_use(layer):
    """The parent has run in parallel.

    A child, its threads, and the child's child still can call.
    """
    out = run_with_forks(
        layer,
        """
def child():
    compare()
    threads = [threading.Thread(target=compare) for _ in range(3)]
    for t in threads: t.start()
    for t in threads: t.join()
    in_child(compare)

in_child(child)
in_child(compare)
compare()
print("layer", numba.threading_layer())
""",
    ).stdout
    assert f"layer {layer}" in out


def test_fork_while_another_thread_computes(layer):
    """A lock held by a thread at the time of the fork stays locked in the child for ever, if it
    is not renewed.
    """
    run_with_forks(
        layer,
        """
stop = threading.Event()

def busy():
    while not stop.is_set():
        fl.mse.grad(logits, logits)

thread = threading.Thread(target=busy)
thread.start()
try:
    for _ in range(5):
        in_child(compare)
finally:
    stop.set()
    thread.join()
compare()
""",
    )


def test_fork_while_another_thread_is_in_its_first_call(layer):
    """What it holds while it compiles must not be held for ever in the child."""
    run_with_forks(
        layer,
        """
new = fl.pointwise_loss("new", lambda p, y: (p - y) ** 2, lambda p, y: 2 * (p - y))
thread = threading.Thread(target=lambda: new.value_and_grad(logits, logits))
thread.start()
in_child(lambda: fl.mse(logits[:7], logits[:7]))
thread.join()
compare()
""",
    )


def test_calls_do_not_wait_for_numbas_lock(layer):
    """It is one for a parent and its children: who is forked while it is held keeps it."""
    run_with_forks(
        layer,
        """
from numba.np.ufunc import parallel

held, done = threading.Event(), threading.Event()

def hold():
    with parallel._backend_init_process_lock, parallel._backend_init_thread_lock:
        held.set()
        assert done.wait(60)

holder = threading.Thread(target=hold)
caller = threading.Thread(target=compare, daemon=True)
holder.start()
assert held.wait(60)
caller.start()
caller.join(30)
waits = caller.is_alive()
done.set()
holder.join()
assert not waits
""",
    )


def test_fork_before_first_use(layer):
    """Children that are the first to compute, as a pool's workers are; then the parent."""
    run_in(
        layer,
        INPUTS
        + """
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    answers = pool.starmap(digest, [()] * 4)
assert set(answers) == {digest()}
""",
    )


def test_the_same_bits_for_any_number_of_threads():
    """1, 2 and 4 threads, by environment and by set_num_threads, serial and parallel form alike."""
    digests = {
        run_python(INPUTS + "print(digest(more_results))", NUMBA_NUM_THREADS=threads).stdout.strip()
        for threads in (1, 2, 4)
    }
    assert len(digests) == 1
    run_python(
        INPUTS
        + f"""
for n in (4, 3, 2, 1, 2):
    numba.set_num_threads(n)
    assert digest(more_results) == {digests.pop()!r}, n
    assert numba.get_num_threads() == n
""",
        NUMBA_NUM_THREADS=4,
    )


def test_openmp_has_as_many_threads_as_before():
    """PyTorch asks the same OpenMP; Numba, as it starts, would give all of the machine's back."""
    run_python(
        """
        import torch, numpy as np, fastloss as fl
        from fastloss.cpu.threads import start_threads
        torch.set_num_threads(3)
        torch.get_num_threads()  # the first time, it sets it once more
        fl.mse(np.ones((300, 1000)), np.zeros((300, 1000)))
        import numba
        assert numba.threading_layer() == "omp" and start_threads() == 2
        assert torch.get_num_threads() == 3
        """,
        NUMBA_THREADING_LAYER="omp",
        NUMBA_NUM_THREADS=2,
    )


def test_no_process_wide_setting_changes():
    """Threads, layer, cache directory, environment, warnings and NumPy's error state stay the
    user's.
    """
    run_python(
        """
        import os, warnings
        import numba, numpy as np
        from numba.core import config

        def state():
            settings = {k: repr(getattr(config, k)) for k in dir(config) if k.isupper()}
            threads = {"threads": numba.get_num_threads()}
            filters = dict(enumerate(warnings.filters))
            return settings, dict(os.environ), np.geterr(), threads, filters

        numba.set_num_threads(1)
        before = state()
        import fastloss as fl
        fl.cross_entropy.value_and_grad(np.zeros((5, 3)), np.zeros(5, int))
        fl.mse(np.ones((300, 1000)), np.zeros((300, 1000)))
        after = state()
        for a, b in zip(before, after):
            assert a == b, [(k, a[k], b.get(k)) for k in a if a[k] != b.get(k)]
        """
    )
