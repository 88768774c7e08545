"""Models for people they were not trained on: one user vector fitted to a history, with everything else frozen.

Shapes: N items of the history and negatives drawn against them, D embedding.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import History, Inputs, whole
from attlas.models.protocol import Separable, Welcoming, asked_by
from attlas.ops.ragged import Ragged
from attlas.scoring import Scorer

STEPS = 60
LEARNING_RATE = 0.1
NEGATIVES = 4


def given_history(inputs: Inputs, items: np.ndarray, asked: np.ndarray | None = None) -> History:
    """One stranger's history, asked for once, or once per item of ``asked`` without that item.

    Args:
        inputs: whose device is used.
        items: sorted indices of the items chosen, each once.
        asked: items whose pairs shall leave themselves out.
    """
    device = inputs.device
    index_N = torch.as_tensor(items, dtype=torch.int64, device=device)
    lists = Ragged(torch.tensor([0, len(items)], device=device), torch.arange(len(items), device=device), len(items))
    if asked is None:
        row_B = torch.zeros(1, dtype=torch.int64, device=device)
        return History(index_N, lists, row_B, torch.full_like(row_B, -1))
    place_B = np.searchsorted(items, asked)
    is_own_B = np.isin(asked, items)
    left_out_B = torch.from_numpy(np.where(is_own_B, place_B, -1)).to(device)
    return History(index_N, lists, torch.zeros_like(left_out_B), left_out_B)


def fit_user(model: nn.Module, scorer: Scorer, items: np.ndarray) -> nn.Module:
    """The same model with one user only, the stranger, whose vectors explain the given history best.

    The loss is the pointwise one on the history and random other items, plus a Gaussian prior with the mean and spread of
    the vectors of the users that the model knows. Equal histories give equal vectors.

    Args:
        model: one that names its user tables; it is not changed.
        scorer: of that model.
        items: sorted indices of the items chosen, each once.
    """
    assert isinstance(model, Welcoming)
    stranger, tables, priors = _alone(model)
    rng = np.random.default_rng(len(items))
    others = np.setdiff1d(np.arange(scorer.inputs.sizes.num_items), items)
    drawn = rng.choice(others, size=NEGATIVES * len(items)) if len(others) else others
    pairs = np.concatenate([items, drawn])
    label = torch.zeros(len(pairs), device=scorer.inputs.device)
    label[: len(items)] = 1.0
    optimizer = torch.optim.Adam(tables, lr=LEARNING_RATE)
    score = _scores_of(stranger, scorer, items, pairs)
    for _ in range(STEPS):
        loss = functional.binary_cross_entropy_with_logits(score(), label, reduction="sum")
        for table, (mean, variance) in zip(tables, priors, strict=True):
            loss = loss + 0.5 * ((table - mean).square() / variance).sum()
        gradients = torch.autograd.grad(loss, tables)
        for table, gradient in zip(tables, gradients, strict=True):
            table.grad = gradient
        optimizer.step()
    for table in tables:
        table.requires_grad_(False)
    return stranger


def _alone(model: nn.Module) -> tuple[nn.Module, list[Tensor], list[tuple[Tensor, Tensor]]]:
    """The model with user tables of one row each at the mean of the known users; those rows; their means and variances."""
    stranger = copy.copy(model)
    stranger._modules = dict(model._modules)
    rows, priors = [], []
    for name in model.user_tables:  # type: ignore[union-attr]
        known = getattr(model, name).weight.detach()
        mean = known.mean(0, keepdim=True)
        table = nn.Embedding.from_pretrained(mean.clone(), freeze=False)
        stranger._modules[name] = table
        rows.append(table.weight)
        variance = known.var(0, keepdim=True) if len(known) > 1 else torch.ones_like(mean)
        priors.append((mean, variance.clamp_min(1e-8)))
    return stranger, rows, priors


def _scores_of(stranger: nn.Module, scorer: Scorer, items: np.ndarray, pairs: np.ndarray) -> Any:
    """A function that scores the stranger with each item of ``pairs``; what does not depend on the vectors is made once."""
    device = scorer.inputs.device
    user = np.zeros(len(pairs), np.int64)
    made: dict[str, Any] = {
        "user": torch.from_numpy(user).to(device),
        "item": torch.from_numpy(pairs).to(device),
        "user_history": given_history(scorer.inputs, items, pairs),
    }
    if isinstance(stranger, Separable):
        names = asked_by(stranger, "encode_user")
        code_NC = scorer.item_code[made["item"]].clone()
        return lambda: stranger.match(stranger.encode_user(**{name: made[name] for name in names}), code_NC)
    names = asked_by(stranger)
    if "item_history" in names:
        made["item_history"] = whole(scorer.inputs.item_lists, made["item"])
    return lambda: stranger(**{name: made[name] for name in names})
