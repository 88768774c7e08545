"""A few rows of a model's tables, fitted to pairs with everything else frozen.

The loss is that of the model's task on the pairs, plus a Gaussian prior with the mean and spread of known rows, so that rows of
which little is known stay near those. A row depends on its owner's pairs alone.

Shapes: N pairs, R rows, S owners (users or items) and E what they chose (or who chose them), D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from attlas.awaiting import go_on
from attlas.data.inputs import Inputs
from attlas.models.protocol import asked_by, task_of

STEPS = 60
LEARNING_RATE = 0.1
NEGATIVES = 4


class Pairs(NamedTuple):
    """What rows are fitted to.

    Attributes:
        user, item: int64[N].
        target: float32[N], 1 for what was chosen and 0 for what was not, or ratings.
    """

    user: np.ndarray
    item: np.ndarray
    target: np.ndarray


@torch.no_grad()
def fit_rows(model: nn.Module, inputs: Inputs, fitted: dict[str, Tensor], known: dict[str, Tensor], pairs: Pairs) -> None:
    """Fit some rows in place.

    Args:
        model: in use, on the device of the inputs.
        inputs: what its inputs are gathered from; each pair comes without itself.
        fitted: int64[R], the rows to fit, by the name of the weight.
        known: int64, the rows that say what to expect, by the same names.
        pairs: of the owners of the rows.
    """
    if not len(pairs.user) or not fitted:
        return
    fitted = {name: row.to(inputs.device) for name, row in fitted.items()}
    weights = dict(model.named_parameters())
    priors = {name: prior_of(weights[name][row]) for name, row in known.items()}
    rows = {name: priors[name][0].expand(len(row), *weights[name].shape[1:]).clone() for name, row in fitted.items()}
    made = inputs.gather(asked_by(model), pairs.user, pairs.item)
    target_N, is_rating = torch.from_numpy(pairs.target).to(inputs.device), task_of(model) == "rating"
    cost = functional.mse_loss if is_rating else functional.binary_cross_entropy_with_logits

    def loss() -> Tensor:
        whole = {name: weights[name].detach().index_copy(0, fitted[name], rows[name]) for name in fitted}
        total = cost(functional_call(model, whole, (), made), target_N, reduction="sum")
        return total + sum(against_prior(row, priors[name]) for name, row in rows.items())

    descend(list(rows.values()), loss)
    for name, row in rows.items():
        weights[name].index_copy_(0, fitted[name], row.detach())


def descend(tables: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    """Take a fixed number of steps of Adam (0.9, 0.999, 1e-8) down a loss, in place.

    The optimizer of torch steps alike, but imports a compiler before its first step: seconds, for the first who asks.

    Raises:
        TooLate: nobody waits for it any more; the tables are then anywhere on the way.
    """
    moments = [(torch.zeros_like(table), torch.zeros_like(table)) for table in tables]
    for table in tables:
        table.requires_grad_()
    for step in range(1, STEPS + 1):
        go_on()
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss(), list(tables))
        for table, gradient, (first, second) in zip(tables, gradients, moments, strict=True):
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            spread = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
            table.data.addcdiv_(first, spread, value=-LEARNING_RATE / (1 - 0.9**step))
    for table in tables:
        table.requires_grad_(False)


def against_prior(row_RD: Tensor, prior: tuple[Tensor, Tensor]) -> Tensor:
    """What rows cost for being far from where they are expected, a scalar: half their squared distances in spreads."""
    mean, variance = prior
    return 0.5 * ((row_RD - mean).square() / variance).sum()


def prior_of(known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of known rows, as one row each; one row alone has none and is taken to vary by 1."""
    mean = known.mean(0, keepdim=True)
    variance = known.var(0, keepdim=True) if len(known) > 1 else torch.ones_like(mean)
    return mean, variance.clamp_min(1e-8)


def drawn_for(chosen: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Four times as many candidates as were chosen, beside those: equal for equal choices; none where all are chosen."""
    left = np.setdiff1d(candidates, chosen)
    return np.random.default_rng(len(chosen)).choice(left, size=NEGATIVES * len(chosen)) if len(left) else left


def against_others(chosen_SE: sparse.csr_array, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each owner has chosen and, drawn for each alone, four times as many of the candidates that they have not.

    Args:
        chosen_SE: binary, in sorted rows.
        candidates: sorted indices that may be drawn.

    Returns:
        The owner, 0 to S - 1, what is paired with it, and whether it was chosen, as 1 or 0, each [N].
    """
    other, label = [], []
    for chosen in np.split(chosen_SE.indices.astype(np.int64), chosen_SE.indptr[1:-1]):
        drawn = drawn_for(chosen, candidates)
        other.append(np.concatenate([chosen, drawn]))
        label.append((np.arange(len(other[-1])) < len(chosen)).astype(np.float32))
    owner = np.repeat(np.arange(len(other)), [len(part) for part in other])
    return owner, np.concatenate(other), np.concatenate(label)


def blocks(chosen_SE: sparse.csr_array, pairs: int) -> Iterator[slice]:
    """Owners whose pairs and negatives together are no more than so many; one may be alone with more."""
    first = 0
    while first < chosen_SE.shape[0]:
        most = chosen_SE.indptr[first] + pairs // (1 + NEGATIVES)
        past = max(first + 1, int(np.searchsorted(chosen_SE.indptr, most, side="right")) - 1)
        yield slice(first, past)
        first = past
