"""The simulator runs each CUDA thread as one of Python's: they should take turns quickly."""

import sys

from tests.cuda.device import SIMULATED

if SIMULATED:
    sys.setswitchinterval(5e-5)
