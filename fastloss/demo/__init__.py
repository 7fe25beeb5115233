"""Four small networks on handwritten digits, each trained with another loss of fastloss.

Needs the extra ``demo`` (scikit-learn for the digits, matplotlib for the picture, rich for the
progress bar). Run it with ``python -m fastloss demo``.
"""

from fastloss.demo.run import run_demo

__all__ = ["run_demo"]
