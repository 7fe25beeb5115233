"""What memory a step asks NumPy and PyTorch for, in a process that does nothing else."""

import tracemalloc

import torch


def held(step, prepare):
    """Return the peak of NumPy's memory and the bytes PyTorch hands out during step(prepare())."""
    step(prepare())  # compiles
    given = prepare()
    tracemalloc.start()
    step(given)
    numpy_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    given = prepare()
    with torch.profiler.profile(profile_memory=True) as profile:
        step(given)
    return numpy_peak, sum(max(e.self_cpu_memory_usage, 0) for e in profile.key_averages())
