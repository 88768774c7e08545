"""A product beside a tower: what NCF and DeepCF have in common, whatever their vectors are made of.

Both judge a pair twice, by the product of two codes and by a perceptron on two codes, and weigh the two verdicts together.

Shapes: B pairs, G and R rows of codes, K product, H first layer of the tower, L its last layer, N weights of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from attlas.errors import ConfigError
from attlas.models.layers import PairTower
from attlas.ops.towers import judge_every_pair, judge_listed_pairs


def match_pairs(
    user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor, tower: PairTower, head: nn.Linear
) -> Tensor:
    """The logit p . q + w . tower(a + b) + bias of each pair of rows, [B].

    Args:
        user_code: p, the product's output weights included, beside the user's half a of the tower's first layer, [G, K + H]; K
            may be nothing.
        user_row: int64[B], the row of it that each pair reads.
        item_code: q beside the item's half b, [R, K + H].
        item_row: int64[B].
        tower: the rest of it.
        head: the output layer, of whose weights the last L are the tower's.
    """
    split = user_code.shape[1] - len(tower.bias)
    score_B = judge_listed_pairs(user_code, user_row, item_code, item_row, *_layers(tower), head.weight[0, split:])
    return score_B if head.bias is None else score_B + head.bias


def match_branches(user_code: Tensor, item_code: Tensor, tower: PairTower, head: nn.Linear) -> Tensor:
    """``match_pairs`` of codes whose leading dimensions broadcast; all users with all items, [V, 1] by [1, I], at once."""
    shape = torch.broadcast_shapes(user_code.shape[:-1], item_code.shape[:-1])
    if not torch.is_grad_enabled() and user_code.shape[1:-1] == (1,) and item_code.shape[:-2] == (1,):
        return _match_catalogue(user_code.flatten(0, 1), item_code[0], tower, head)
    rows = []
    for code in (user_code, item_code):
        count = code.shape[:-1].numel()
        rows.append(torch.arange(count, device=code.device).view(code.shape[:-1]).expand(shape).reshape(-1))
    return match_pairs(user_code.flatten(0, -2), rows[0], item_code.flatten(0, -2), rows[1], tower, head).view(shape)


def _match_catalogue(user_code_VC: Tensor, item_code_IC: Tensor, tower: PairTower, head: nn.Linear) -> Tensor:
    split = user_code_VC.shape[1] - len(tower.bias)
    score_VI = judge_every_pair(user_code_VC[:, split:], item_code_IC[:, split:], *_layers(tower), head.weight[0, split:])
    if split:
        score_VI.addmm_(user_code_VC[:, :split], item_code_IC[:, :split].T)
    return score_VI if head.bias is None else score_VI.add_(head.bias)


def _layers(tower: PairTower) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The weights and the biases of its layers after the first."""
    layers = [cast(nn.Linear, layer) for layer in tower.rest]
    return tuple(layer.weight for layer in layers), tuple(layer.bias for layer in layers)


def fuse(model: nn.Module, parts: Sequence[nn.Module], kinds: tuple[type, type]) -> None:
    """Start a model from its two branches, trained alone: its logit is alpha times the one's plus 1 - alpha times the other's.

    Args:
        model: what joins them; ``config.alpha`` is the first one's share.
        parts: the two, each with an output layer ``prediction``.
        kinds: what they should be.

    Raises:
        ConfigError: they are not of these kinds, or not of the model's sizes and settings.

    Source: He et al., WWW 2017, section 3.4.1; DeepCF does the same.
    """
    name = type(model).__name__
    if [type(part) for part in parts] != list(kinds):
        wanted, given = (" and ".join(kind.__name__ for kind in these) for these in (kinds, map(type, parts)))
        raise ConfigError(f"{name} starts from {wanted}, in this order; got {given or 'nothing'}")
    share: float = model.config.alpha  # type: ignore[assignment,union-attr]
    one, other = (part.state_dict() for part in parts)
    ends = {"prediction.weight": torch.cat([share * one["prediction.weight"], (1 - share) * other["prediction.weight"]], dim=1)}
    if "prediction.bias" in one and "prediction.bias" in other:
        ends["prediction.bias"] = share * one["prediction.bias"] + (1 - share) * other["prediction.bias"]
    try:
        model.load_state_dict({**one, **other, **ends})
    except RuntimeError as error:
        raise ConfigError(
            f"{name} is of other sizes than what it should start from; give all three the same settings and data: {error}"
        ) from error
