"""The simulator runs each CUDA thread as one of Python's: here they take turns."""

from tests.cuda.device import SIMULATED, missing

if SIMULATED and missing() is None:
    from tests.cuda.turns import take_turns

    take_turns()
