"""The one training loop, and gradient descent as one of its solvers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from attlas.data.inputs import Inputs
from attlas.models.protocol import Beginning, Penalised
from attlas.training.checkpoint import Checkpoint, Progress
from attlas.training.objectives import Objective
from attlas.training.patience import Patience

Optimizer = Literal["adam", "sgd", "adagrad"]


def _adagrad(parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    """Adagrad as NAIS's and AFM's codes begin it; in one pass where torch has one, on a CPU."""
    given = list(parameters)
    fused = all(one.device.type == "cpu" for one in given)
    return torch.optim.Adagrad(given, initial_accumulator_value=1e-8, fused=fused, **settings)


OPTIMIZERS: dict[Optimizer, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": torch.optim.SGD,
    "adagrad": _adagrad,
}


class Moment(NamedTuple):
    """Where an epoch stands, for whoever watches."""

    epoch: int
    batch: int
    batches: int
    pairs: int
    loss: float


Watch = Callable[[Moment], None]


class Solver(Protocol):
    """A way to train: one epoch at a time, with a state that can be saved between epochs."""

    one_epoch: ClassVar[bool]

    def epoch(self, model: Any, data: Inputs, rng: np.random.Generator) -> float:
        """Train for one epoch; returns its mean loss, NaN where there is none."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What lives on between epochs."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on with a saved state."""
        ...


class Descent:
    """Gradient descent on an objective.

    Args:
        model: whose parameters are moved.
        objective: what a batch is and what it costs.
        optimizer: how a gradient becomes a step: ``adam``, plain ``sgd`` or ``adagrad``.
        learning_rate: the step size in the first epoch.
        learning_rate_decay: what the step size is multiplied by after every epoch.
        weight_decay: L2 penalty on all parameters, added to their gradients.
        watch: told after every batch.
    """

    one_epoch: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        optimizer: Optimizer = "adam",
        learning_rate: float = 1e-3,
        learning_rate_decay: float = 1.0,
        weight_decay: float = 0.0,
        watch: Watch | None = None,
    ):
        self.objective, self.watch, self.optimizer_name = objective, watch, optimizer
        self.learning_rate, self.learning_rate_decay = learning_rate, learning_rate_decay
        self.names = [name for name, _ in model.named_parameters()]
        self._made = lambda: OPTIMIZERS[optimizer](model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        self.epochs_done = 0

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made when it is first asked for: by then ``fit`` has brought the model to where the data lie."""
        return self._made()

    def epoch(self, model: nn.Module, data: Inputs, rng: np.random.Generator) -> float:
        """Show every batch once; the mean loss, without a penalty of the model's own, is weighted by pairs."""
        total, pairs = 0.0, 0
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self.learning_rate_decay**self.epochs_done
        batches = self.objective.count(data)
        model.train()
        for number, batch in enumerate(self.objective.batches(data, model, rng), start=1):
            loss = self.objective.loss(model, batch)
            total_loss = loss + model.penalise(**batch.inputs) if isinstance(model, Penalised) else loss
            self.optimizer.zero_grad()
            total_loss.backward()
            self.optimizer.step()
            total += loss.item() * len(batch.label)
            pairs += len(batch.label)
            if self.watch:
                self.watch(Moment(self.epochs_done + 1, number, batches, pairs, total / pairs))
        self.epochs_done += 1
        return total / max(pairs, 1)

    def state(self) -> dict[str, Tensor]:
        """What the optimizer remembers, such as Adam's moments and step counts, by parameter."""
        tensors = {"epochs_done": torch.tensor(self.epochs_done)}
        for position, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{self.names[position]}/{key}": value for key, value in entry.items() if value is not None}
        return tensors

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on with what the optimizer remembered."""
        entries: dict[int, dict[str, Tensor]] = {}
        self.epochs_done = int(state["epochs_done"])
        for name, value in state.items():
            parameter, _, key = name.rpartition("/")
            if parameter:
                entries.setdefault(self.names.index(parameter), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": entries, "param_groups": groups})


def fit(
    model: nn.Module,
    solver: Solver,
    data: Inputs,
    *,
    epochs: int,
    seed: int,
    after_epoch: Patience | None = None,
    checkpoint: Checkpoint | None = None,
    log: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train where the data lie until epochs or patience are over; leave the best weights, return each epoch's mean loss.

    Every epoch draws from a generator of its own, made from ``seed`` and its number: on a CPU a resumed fit has the same bits.

    Args:
        solver: one that solves in one epoch is asked for one only.
        epochs: at most so many.
        after_epoch: decides when to stop and which weights to keep; without it the last are kept.
        checkpoint: written after every epoch; progress found there is taken up.
        log: told the epoch and its loss, after ``after_epoch``.
    """
    model.to(data.device)
    losses, first, is_over = _take_up(model, solver, after_epoch, checkpoint)
    if first == 1 and isinstance(model, Beginning):
        model.begin(data)
    last = min(epochs, 1) if solver.one_epoch else epochs
    for epoch in range(first, last + 1):
        if is_over:
            break
        losses.append(_train_once(model, solver, data, seed, epoch))
        is_over = after_epoch(epoch) if after_epoch else False
        if log:
            log(epoch, losses[-1])
        if checkpoint:
            checkpoint.save(_progress(model, solver, after_epoch, epoch, losses, is_over))
    model.eval()
    if after_epoch:
        after_epoch.keep_best()
    return losses


def _train_once(model: nn.Module, solver: Solver, data: Inputs, seed: int, epoch: int) -> float:
    with torch.random.fork_rng(devices=[data.device] if data.device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        loss = solver.epoch(model, data, np.random.default_rng([seed, epoch]))
    model.eval()
    return loss


def _progress(
    model: nn.Module, solver: Solver, patience: Patience | None, epoch: int, losses: list[float], is_over: bool
) -> Progress:
    plain, best = patience.state() if patience else ({}, {})
    tensors = {f"model:{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"solver:{name}": tensor for name, tensor in solver.state().items()}
    tensors |= {f"best:{name}": tensor for name, tensor in best.items()}
    return Progress(epoch, [None if math.isnan(loss) else loss for loss in losses], is_over, plain, tensors)  # type: ignore[misc]


def _take_up(
    model: nn.Module, solver: Solver, patience: Patience | None, checkpoint: Checkpoint | None
) -> tuple[list[float], int, bool]:
    progress = checkpoint.load() if checkpoint else None
    if progress is None:
        return [], 1, False
    model.load_state_dict(_named(progress.tensors, "model:"))
    solver.restore(_named(progress.tensors, "solver:"))
    if patience:
        patience.restore(progress.plain, _named(progress.tensors, "best:"))
    losses = [math.nan if loss is None else loss for loss in progress.losses]
    return losses, progress.epoch + 1, progress.is_over


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
