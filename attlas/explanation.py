"""Why this item: the entries of a history and what each of them weighed, in outside ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True, eq=False)
class Explanation:
    """What stood behind one score.

    Attributes:
        item, title: the item that is explained.
        score: what it was ranked by.
        way: how the user came in: ``known user``, ``from the history``, ``folded in by one solve``, ``fitted user vector`` or
            ``popular``.
        method: ``attention`` (weights that sum to 1 where the softmax is not smoothed), ``contribution`` (what each entry
            adds to the score), ``popularity`` (everybody is served alike) or ``none`` (the model weighs no history).
        history: one row per item of the user's history, the heaviest first: item, title, weight.
        audience: one row per other user who chose the item, the heaviest first: user, weight; None if the model does not
            look at them.
        are_shares: whether the whole history's weights sum to 1, also where ``history`` is only the heaviest of it.
    """

    item: str | int
    title: str
    score: float
    way: str
    method: str
    history: pl.DataFrame
    audience: pl.DataFrame | None = None
    are_shares: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "item": self.item,
            "title": self.title,
            "score": self.score,
            "way": self.way,
            "method": self.method,
            "history": self.history.to_dicts(),
            "audience": None if self.audience is None else self.audience.to_dicts(),
        }

    def sentence(self, count: int = 3) -> str:
        """One sentence for a person: the heaviest reasons."""
        if self.method == "popularity":
            return f"{self.title}: because many have chosen it"
        if self.method == "none":
            return f"{self.title}: because its vector goes with the user's; this model weighs no single item of the history"
        heaviest = self.history.filter(pl.col("weight") > 0).head(count)
        if heaviest.is_empty():
            return f"{self.title}: nothing in the history speaks for it"
        pairs = zip(heaviest["title"], heaviest["weight"], strict=True)
        reasons = ", ".join(f"{title} ({weight:.0%})" if self.are_shares else str(title) for title, weight in pairs)
        return f"{self.title}: because of {reasons}"
