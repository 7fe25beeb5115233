"""The package's own exception."""

from __future__ import annotations


class DeviceError(ValueError):
    """Arrays live on different devices, or on one that this installation cannot compute on."""
