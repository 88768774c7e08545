"""Why this item: the entries of a history and what each of them weighed, in outside ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True, eq=False)
class Exposure:
    """Whether the user came across the item at all, apart from whether they like it.

    Attributes:
        chance: that they came across it, 0 to 1.
        preference: how much they like it, were it seen, about 0 to 1.
        communities: one row per community, the user's own first: community, membership (which sum to 1), exposure (how
            likely its members come across the item).
    """

    chance: float
    preference: float
    communities: pl.DataFrame

    def sentence(self) -> str:
        """One clause for a person."""
        if self.chance < 0.5:
            return f"they probably never came across it ({self.chance:.1%})"
        known = f"they probably came across it ({self.chance:.1%})"
        return known if self.preference >= 0.5 else f"{known} and are not interested"


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
        exposure: whether the user came across the item; None where the model cannot tell.
    """

    item: str | int
    title: str
    score: float
    way: str
    method: str
    history: pl.DataFrame
    audience: pl.DataFrame | None = None
    are_shares: bool = False
    exposure: Exposure | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        facts = {
            "item": self.item,
            "title": self.title,
            "score": self.score,
            "way": self.way,
            "method": self.method,
            "history": self.history.to_dicts(),
            "audience": None if self.audience is None else self.audience.to_dicts(),
        }
        if self.exposure is None:
            return facts
        seen = self.exposure
        told = {"chance": seen.chance, "preference": seen.preference, "communities": seen.communities.to_dicts()}
        return {**facts, "exposure": told}

    def sentence(self, count: int = 3) -> str:
        """One sentence for a person: the heaviest reasons, and whether they came across it where that is known."""
        reasons = self._reasons(count)
        return f"{reasons}; {self.exposure.sentence()}" if self.exposure else reasons

    def _reasons(self, count: int) -> str:
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
