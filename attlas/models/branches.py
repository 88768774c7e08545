"""A product beside a tower: what NCF and DeepCF have in common, whatever their vectors are made of.

Both judge a pair twice, by the product of two codes and by a perceptron on two codes, and weigh the two verdicts together.

Shapes: K product, H first layer of the tower, L its last layer; leading dimensions broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attlas.errors import ConfigError
from attlas.models.layers import PairTower


def match_branches(user_code: Tensor, item_code: Tensor, tower: PairTower, weight_L: Tensor, bias: Tensor | None) -> Tensor:
    """The logit w_K . (p * q) + w_L . tower(a + b) + bias of each pair of codes.

    Args:
        user_code: w_K * p beside the user's half a of the tower's first layer, [..., K + H]; K may be nothing.
        item_code: q beside the item's half b, [..., K + H].
        tower: the rest of it.
        weight_L: what its verdict weighs.
        bias: added to every logit.
    """
    split = user_code.shape[-1] - len(tower.bias)
    first_layer = (user_code[..., split:] + item_code[..., split:]).relu_()
    logit = nn.functional.linear(tower(first_layer), weight_L[None], bias).squeeze(-1)
    if not split:
        return logit
    return logit + torch.einsum("...k,...k->...", user_code[..., :split], item_code[..., :split])


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
