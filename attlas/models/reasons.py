"""What can stand behind a model's scores: abilities to give reasons, each a small protocol, and which of them a model has."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from attlas.data.inputs import Fields
from attlas.data.observed import Observed
from attlas.models.protocol import Separable, asked_by, reads_history

Reasons = Literal[
    "attention", "contribution", "counterfactual", "features", "pairs", "deletion", "factors", "windows", "popularity", "none"
]


@runtime_checkable
class Explaining(Protocol):
    """A model that can weigh the entries of its histories."""

    def attention(self, **inputs: Any) -> dict[str, Tensor]:
        """From the inputs of one pair to one weight per history entry, [T], by the name of the history."""
        ...


@runtime_checkable
class WeighingFeatures(Protocol):
    """A model of feature fields whose score is a sum over them, and a bias."""

    def weigh_features(self, fields: Fields) -> Tensor:
        """What each field adds to the score of each row, [B, F]."""
        ...


@runtime_checkable
class WeighingPairs(Protocol):
    """A model of feature fields whose score is a sum over pairs of them, beside its linear part."""

    def weigh_pairs(self, fields: Fields) -> tuple[Tensor, Tensor]:
        """The weight of each pair of fields and its score, [B, P] each; their products are what the pairs add."""
        ...


@runtime_checkable
class Attending(WeighingPairs, Protocol):
    """A model of feature fields that may have learned how much each pair weighs."""

    @property
    def attends(self) -> bool:
        """Whether its weights are learned and sum to 1; of settings under which all are alike it is false."""
        ...


@runtime_checkable
class LosingPairs(Protocol):
    """A model of feature fields that judges all pairs together, and can say what is lost without each of them."""

    def lose_pairs(self, fields: Fields) -> Tensor:
        """By how much the score of each row falls without each pair of fields, [B, P]; these need not add up."""
        ...


@runtime_checkable
class Factored(Protocol):
    """A model whose score is a sum over latent dimensions, and a few terms beside them."""

    def by_factor(self, user: Tensor, item: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What each dimension adds to the score of each pair, [B, D], and every other term by its name, [B]."""
        ...


@runtime_checkable
class Sliding(Protocol):
    """A model that reads the whole matrix and sums over shifts of latent windows and over neighbours."""

    def shifts(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """What each shift adds to the score of each pair, [B, E]."""
        ...

    def neighbours(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """What the ratings of each user add to the score of each pair, [B, U]."""
        ...

    def ratings(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """What each rating adds to the score of the one pair, [T] in the order of ``observed.by_user``."""
        ...


@runtime_checkable
class Noticing(Protocol):
    """A model that tells how likely each user came across an item that they did not choose."""

    def exposure(self, user: Tensor, item: Tensor) -> Tensor:
        """That chance, [B] in 0..1."""
        ...

    def preference(self, user: Tensor, item: Tensor) -> Tensor:
        """How much each user likes each item, were it seen, about 0 to 1, [B]."""
        ...


@runtime_checkable
class Exposing(Protocol):
    """A model that tells what a user likes from what they came across."""

    def communities(self, user: Tensor) -> Tensor:
        """How far each user belongs to each community, [B, C]; rows sum to 1."""
        ...

    def exposure(self, item: Tensor) -> Tensor:
        """How likely each community comes across each item, [B, C]."""
        ...

    def preference(self, user: Tensor, item: Tensor) -> Tensor:
        """How much each user likes each item, were it seen, about 0 to 1, [B]."""
        ...


def reasons_of(model: nn.Module | type) -> Reasons:
    """What explains a model's scores.

    A model says so itself by its ``reasons``, where its abilities leave a choice: a separable one whose ``attention`` gives
    contributions, or one of factors.

    Returns:
        ``attention`` or ``contribution`` of the entries of a history; ``counterfactual``, the score without each of them; what
        each of the ``features`` or of their ``pairs`` adds, or the ``deletion`` of a pair costs; ``factors`` and biases;
        ``windows`` of latent features and neighbours; ``popularity``, where all are served alike; ``none`` where there is no
        way to tell.
    """
    found: Reasons | None = getattr(model, "reasons", None)
    if found:
        return found
    if isinstance(model, Explaining):
        return "attention" if isinstance(model, Separable) else "contribution"
    if isinstance(model, WeighingFeatures):
        return "features"
    if isinstance(model, WeighingPairs | LosingPairs):
        return "pairs" if isinstance(model, WeighingPairs) else "deletion"
    if isinstance(model, Sliding):
        return "windows"
    if reads_history(model):
        return "counterfactual"
    return "none" if {"user", "fields"} & set(asked_by(model)) else "popularity"
