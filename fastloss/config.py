"""Settings of the package; none of them touches anything outside it."""

from __future__ import annotations


class Config:
    """`fastloss.config`: settings that hold for the process.

    Attributes
    ----------
    validate_cuda : bool
        Whether a class index out of range raises on CUDA as well. The check waits for the
        device, so the default is False: the loss and the gradient of that row are nan.
    """

    __slots__ = ("validate_cuda",)

    def __init__(self) -> None:
        self.validate_cuda = False

    def __repr__(self) -> str:
        return f"Config(validate_cuda={self.validate_cuda})"


config = Config()
