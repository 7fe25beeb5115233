"""What each loss is: formula, options, docstring. One entry here, and nothing elsewhere.

Each file names its public losses in `__all__`; `fastloss` offers those.
"""
