"""Settings of the package; none of them touches anything outside it."""

from __future__ import annotations

from fastloss import reuse


class Config:
    """`fastloss.config`: settings that hold for the process.

    Attributes
    ----------
    validate_cuda : bool
        Whether a class index out of range raises on CUDA as well. The check waits for the
        device, so the default is False: the loss and the gradient of that row are nan.
    kept_memory : int
        How many bytes are kept for later results, at most.
    """

    __slots__ = ("validate_cuda",)

    def __init__(self) -> None:
        self.validate_cuda = False

    @property
    def kept_memory(self) -> int:
        """How many bytes are kept for later results on the CPU, at most; 512 MiB by default.

        A large result is written where an earlier one was, if nobody has that any more. With 0
        such memory goes back to the system, at once.
        """
        return reuse.limit()

    @kept_memory.setter
    def kept_memory(self, count: int) -> None:
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"kept_memory must be a number of bytes >= 0, not {count!r}")
        reuse.set_limit(count)

    def __repr__(self) -> str:
        return f"Config(validate_cuda={self.validate_cuda}, kept_memory={self.kept_memory})"


config = Config()
