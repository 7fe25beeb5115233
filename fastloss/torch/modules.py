"""`torch.nn`'s loss modules, by fastloss.

Each is a subclass of PyTorch's, so constructor, ``repr``, buffers and ``state_dict`` are PyTorch's
own; the deprecated arguments are refused.
"""

from __future__ import annotations

import torch

from fastloss.torch import functional

Tensor = torch.Tensor


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """Cross-entropy from logits; see `fastloss.torch.cross_entropy` for the arguments.

    `z_loss`, `logit_scale`, `logit_softcap` and `inplace` are ours.

    Examples
    --------
    >>> import torch
    >>> import fastloss.torch as flt
    >>> flt.CrossEntropyLoss()(torch.zeros(2, 4), torch.tensor([1, 3]))
    tensor(1.3863)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        z_loss: float = 0.0,
        logit_scale: float = 1.0,
        logit_softcap: float | None = None,
        inplace: bool = False,
    ) -> None:
        functional.refuse_deprecated(size_average, reduce)
        super().__init__(
            weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
        self.z_loss = z_loss
        self.logit_scale = logit_scale
        self.logit_softcap = logit_softcap
        self.inplace = inplace

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            z_loss=self.z_loss,
            logit_scale=self.logit_scale,
            logit_softcap=self.logit_softcap,
            inplace=self.inplace,
        )


class BCELoss(torch.nn.BCELoss):
    """Cross-entropy of probabilities; see `fastloss.torch.binary_cross_entropy`.

    `inplace` is ours.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        inplace: bool = False,
    ) -> None:
        functional.refuse_deprecated(size_average, reduce)
        super().__init__(weight, reduction=reduction)
        self.inplace = inplace

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.binary_cross_entropy(
            input, target, self.weight, reduction=self.reduction, inplace=self.inplace
        )


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    """Cross-entropy of logits; see `fastloss.torch.binary_cross_entropy_with_logits`.

    `label_smoothing` and `inplace` are ours.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        *,
        label_smoothing: float = 0.0,
        inplace: bool = False,
    ) -> None:
        functional.refuse_deprecated(size_average, reduce)
        super().__init__(weight, reduction=reduction, pos_weight=pos_weight)
        self.label_smoothing = label_smoothing
        self.inplace = inplace

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            label_smoothing=self.label_smoothing,
            inplace=self.inplace,
        )


class MSELoss(torch.nn.MSELoss):
    """Squared error without the factor 1/2; see `fastloss.torch.mse_loss`.

    `inplace` is ours.
    """

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        inplace: bool = False,
    ) -> None:
        functional.refuse_deprecated(size_average, reduce)
        super().__init__(reduction=reduction)
        self.inplace = inplace

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.mse_loss(input, target, reduction=self.reduction, inplace=self.inplace)


class HingeLoss(torch.nn.Module):
    """Hinge loss of labels -1 and +1; see `fastloss.torch.hinge`."""

    def __init__(
        self,
        margin: float = 1.0,
        squared: bool = False,
        reduction: str = "mean",
        *,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.squared = squared
        self.reduction = reduction
        self.inplace = inplace

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.hinge(
            input,
            target,
            self.margin,
            self.squared,
            reduction=self.reduction,
            inplace=self.inplace,
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"margin={self.margin}, squared={self.squared}, reduction={self.reduction!r}"
