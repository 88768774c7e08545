"""When to stop, and which weights to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Halt = Callable[[list[float]], str]  # told the values of all epochs so far; a word says stop, and why


class Patience:
    """Stops when a value has not improved for some epochs, and remembers the weights at its best.

    Args:
        model: whose weights are remembered.
        value: measured after every epoch.
        epochs: how many epochs in a row may pass without a new best.
        is_error: whether lower values are better; else higher ones are.
        remembers: False where there is one epoch only, whose weights are the best anyway.
        halt: asked after every epoch whether to stop for a reason of its own; its word stands in ``halted``.
    """

    def __init__(
        self,
        model: nn.Module,
        value: Callable[[], float],
        *,
        epochs: int,
        is_error: bool = False,
        remembers: bool = True,
        halt: Halt | None = None,
    ):
        self.model, self.value, self.epochs, self.is_error, self.remembers = model, value, epochs, is_error, remembers
        self.best, self.best_epoch = float("inf") if is_error else -float("inf"), 0
        self.halt, self.halted = halt, ""
        self.values: list[float] = []
        self.weights: dict[str, Tensor] = {}

    def __call__(self, epoch: int) -> bool:
        """Measure after ``epoch`` (counted from 1); True says stop."""
        value = self.value()
        self.values.append(value)
        if value < self.best if self.is_error else value > self.best:
            self.best, self.best_epoch = value, epoch
            if self.remembers:
                self._remember()
        self.halted = self.halt(self.values) if self.halt else ""
        return bool(self.halted) or epoch - self.best_epoch >= self.epochs

    def _remember(self) -> None:
        """The weights as they are now, in the place of those before: two copies never stand in memory."""
        for name, tensor in self.model.state_dict().items():
            if name in self.weights:
                self.weights[name].copy_(tensor)
            else:
                self.weights[name] = tensor.detach().clone()

    def keep_best(self) -> None:
        """Give the model the weights that it had at its best."""
        if self.weights:
            self.model.load_state_dict(self.weights)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a checkpoint needs: plain values and tensors."""
        plain = {"best": self.best, "best_epoch": self.best_epoch, "values": self.values, "halted": self.halted}
        return plain, self.weights

    def restore(self, plain: dict[str, Any], weights: dict[str, Tensor]) -> None:
        """Go on where a checkpoint left off."""
        self.best, self.best_epoch, self.values = plain["best"], plain["best_epoch"], list(plain["values"])
        self.halted, self.weights = plain.get("halted", ""), dict(weights)
