"""Why this item: one form for every model, in outside ids, as a table, a sentence, a figure and JSON."""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

COLUMNS = {"kind": pl.String, "reason": pl.String, "weight": pl.Float64}
TABLES = ("history", "audience", "features", "pairs", "factors", "shifts", "neighbours", "ratings")
METHODS = {
    "attention": "attention over what was chosen before",
    "contribution": "what each earlier choice adds to the score",
    "counterfactual": "by how much the score falls without each earlier choice",
    "features": "what each feature adds to the score",
    "pairs": "what each pair of features adds to the score",
    "deletion": "what the score loses without each pair of features",
    "factors": "what each latent dimension and each bias adds to the score",
    "windows": "what each shift of the latent window and each user's ratings add to the score",
    "popularity": "how many have chosen it",
    "none": "this model gives no reasons",
}
FOR, AGAINST = "#2a6f97", "#b5533c"


@dataclass(frozen=True, eq=False)
class Exposure:
    """Whether the user came across the item at all, apart from whether they like it.

    Attributes:
        chance: that they came across it, 0 to 1; 1 for what they chose.
        preference: how much they like it, were it seen, about 0 to 1.
        communities: one row per community, the user's own first: community, membership (which sum to 1), exposure (how
            likely its members come across the item); no row of a model that knows none.
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
        score: what it was ranked by; of an item of the user's own history the score without it there.
        way: how the user came in: ``known user``, ``unknown user``, ``from the history``, ``folded in by one solve``,
            ``fitted user vector`` or ``popular``.
        method: what the weights are, one of ``METHODS``.
        history: one row per item of the user's history, the heaviest first: item, title, weight. No rows where the model
            weighs none.
        audience: one row per other user who chose the item, the heaviest first: user, weight; None if the model does not
            look at them.
        are_shares: whether the whole history's weights sum to 1, also where ``history`` is only the heaviest of it.
        exposure: whether the user came across the item; None where the model cannot tell.
        explained: the score that the reasons are of; another than ``score`` where ``note`` says so.
        rest: what is in ``explained`` beside all reasons, which with it add up; None for weights that do not add up.
        note: what a reader should know of these reasons; "" for nothing.
        unknown: the fields of the context, and of a stranger, of which nothing was known.
        features: one row per field, what adds most, up or down, first: field, feature, contribution.
        pairs: one row per pair of fields, what adds most, up or down, first: field, feature, other_field, other, contribution;
            where the model weighs pairs also attention and score, whose product that is.
        factors: one row per latent dimension and per bias, what adds most first: factor, like (what of the history stands
            highest there), weight.
        shifts, neighbours: what each shift of the item's features adds: shift, weight; and what each user's ratings: user,
            weight.
        ratings: the heaviest ratings of all users: user, item, title, rating, weight.
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
    explained: float | None = None
    rest: float | None = None
    note: str = ""
    unknown: tuple[str, ...] = ()
    features: pl.DataFrame | None = None
    pairs: pl.DataFrame | None = None
    factors: pl.DataFrame | None = None
    shifts: pl.DataFrame | None = None
    neighbours: pl.DataFrame | None = None
    ratings: pl.DataFrame | None = None

    @cached_property
    def reasons(self) -> pl.DataFrame:
        """What the method weighs, in one form for all: kind, reason (in words) and weight, as ordered in its own table."""
        if self.method == "popularity":
            return _reasons("popularity", ["how often it was chosen"], [self.score])
        if self.method == "features" and self.features is not None:
            names = [f"{row['field']} {row['feature']}" for row in self.features.iter_rows(named=True)]
            return _reasons("feature", names, self.features["contribution"])
        if self.method in ("pairs", "deletion") and self.pairs is not None:
            return _reasons("pair", [pair_words(row) for row in self.pairs.iter_rows(named=True)], self.pairs["contribution"])
        if self.method == "factors" and self.factors is not None:
            names = [_factor_words(row) for row in self.factors.iter_rows(named=True)]
            return _reasons("factor", names, self.factors["weight"])
        if self.method == "windows" and self.shifts is not None and self.neighbours is not None:
            shifts = [f"shift {shift}" for shift in self.shifts["shift"]]
            others = [f"ratings of {user}" for user in self.neighbours["user"]]
            parts = _reasons("shift", shifts, self.shifts["weight"]), _reasons("neighbour", others, self.neighbours["weight"])
            return pl.concat(parts).sort(pl.col("weight").abs(), descending=True, maintain_order=True)
        return _reasons("history", self.history["title"].to_list(), self.history["weight"])

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: the same names for every model."""
        names = ("item", "title", "score", "way", "method", "are_shares", "explained", "rest", "note")
        tables = {name: getattr(self, name) for name in TABLES}
        seen = self.exposure
        return {
            **{name: getattr(self, name) for name in names},
            "sentence": self.sentence(),
            "unknown": list(self.unknown),
            "reasons": self.reasons.to_dicts(),
            **{name: None if table is None else table.to_dicts() for name, table in tables.items()},
            "exposure": None
            if seen is None
            else {"chance": seen.chance, "preference": seen.preference, "communities": seen.communities.to_dicts()},
        }

    def sentence(self, count: int = 3) -> str:
        """One sentence for a person: the heaviest reasons, and whether they came across it where that is known."""
        reasons = f"{self.title}: {self._because(count)}"
        return f"{reasons}; {self.exposure.sentence()}" if self.exposure else reasons

    def _because(self, count: int) -> str:
        match self.method:
            case "popularity":
                return "because many have chosen it"
            case "none":
                return "because its vector goes with the user's; this model weighs no single item of the history"
            case "factors":
                return self._of_factors(count)
            case "windows":
                return self._of_windows()
        heaviest = self.reasons.filter(pl.col("weight") > 0).sort("weight", descending=True, maintain_order=True).head(count)
        if heaviest.is_empty():
            return f"no{'thing in the history' if self.reasons_are_history else ' feature or pair of them'} speaks for it"
        weights = zip(heaviest["reason"], heaviest["weight"], strict=True)
        said = f"because of {', '.join(f'{name} ({weight:.0%})' if self.are_shares else name for name, weight in weights)}"
        if self.method not in ("counterfactual", "deletion") or self.explained is None:
            return said
        left = self.explained - heaviest["weight"][0]
        return f"{said}; without {heaviest['reason'][0]} it would score {left:.4g}, not {self.explained:.4g}"

    @property
    def reasons_are_history(self) -> bool:
        """Whether what is weighed are entries of the user's history."""
        return self.method in ("attention", "contribution", "counterfactual")

    def _of_factors(self, count: int) -> str:
        heaviest = self.reasons.filter(pl.col("weight") > 0).head(count)
        if heaviest.is_empty():
            return "nothing in its vector goes with the user's"
        parts = [f"{name} adds {weight:.3g}" for name, weight in zip(heaviest["reason"], heaviest["weight"], strict=True)]
        return f"of {self.explained if self.explained is not None else self.score:.4g}, {', '.join(parts)}"

    def _of_windows(self) -> str:
        assert self.shifts is not None
        assert self.neighbours is not None
        said = [f"of {self.score:.4g}, {self.rest or 0.0:.4g} is the mean, the biases and the plain product"]
        if len(self.shifts):
            shift, weight = self.shifts.row(0)
            said.append(f"a shift of its features by {shift} adds most of all shifts, {weight:+.3g}")
        if len(self.neighbours):
            user, weight = self.neighbours.row(0)
            said.append(f"and of all users' ratings those of {user}, {weight:+.3g}")
        return ", ".join(said)

    def figure(self, count: int = 12) -> dict[str, Any]:
        """A figure of plotly, as plain data: a bar for each of the heaviest reasons, whatever their kind.

        Titles are escaped: plotly reads some tags, links among them.
        """
        rows = self.reasons.sort(pl.col("weight").abs(), descending=True, maintain_order=True).head(count).reverse()
        weights, reasons = rows["weight"].to_list(), [html.escape(reason, quote=False) for reason in rows["reason"]]
        places = list(range(len(weights)))  # places and not names, of which two may be the same
        bars = {
            "type": "bar",
            "orientation": "h",
            "x": weights,
            "y": places,
            "text": [f"{weight:.0%}" if self.are_shares else f"{weight:+.3g}" for weight in weights],
            "hovertext": reasons,
            "marker": {"color": [FOR if weight >= 0 else AGAINST for weight in weights]},
        }
        names = {"tickmode": "array", "tickvals": places, "ticktext": reasons, "automargin": True}
        layout = {
            "title": {"text": html.escape(self.title, quote=False)},
            "xaxis": {"title": {"text": METHODS[self.method]}},
            "yaxis": names,
        }
        return {"data": [bars], "layout": layout | {"height": 120 + 28 * len(weights), "showlegend": False}}


def pair_words(row: dict[str, Any]) -> str:
    """``hour 2 with colour 1``, of a row of ``pairs``."""
    return f"{row['field']} {row['feature']} with {row['other_field']} {row['other']}"


def _factor_words(row: dict[str, Any]) -> str:
    return f"{row['factor']}, in which it is like {row['like']}," if row["like"] else str(row["factor"])


def _reasons(kind: str, reasons: list[str], weights: Any) -> pl.DataFrame:
    columns = {"kind": [kind] * len(reasons), "reason": reasons, "weight": list(weights)}
    return pl.DataFrame(columns, schema=COLUMNS)
