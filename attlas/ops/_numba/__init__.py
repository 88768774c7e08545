"""Kernels for the CPU, private to ``ops``."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def call(kernel: Any, *tensors: Tensor) -> None:
    """Run a kernel on the memory of CPU tensors; it writes into those that it is given to fill."""
    kernel(*(tensor.detach().contiguous().numpy() for tensor in tensors))
