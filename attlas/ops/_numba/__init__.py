"""Kernels for the CPU, private to ``ops``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

READABLE = "cpu"  # the kind of device whose memory kernels work on; tests take it away to see what ops do without them


def can_read(tensor: Tensor) -> bool:
    """Whether kernels can work on a tensor; where they cannot, an op goes by tensor calls."""
    return tensor.device.type == READABLE


def call(kernel: Any, *tensors: Tensor) -> None:
    """Run a kernel on the memory of CPU tensors; it writes into those that it is given to fill."""
    kernel(*(tensor.detach().contiguous().numpy() for tensor in tensors))
