"""Cards: who was recommended what, and why, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl

from attlas.explanation import METHODS, Explanation
from attlas.recommender import Recommender


@dataclass(frozen=True)
class Pick:
    """One recommended item and what stood behind it.

    Attributes:
        item, title, score: of the item.
        why: its reasons, the heaviest first, all of them.
        facts: what else is known of it.
        note: what a reader should hear beside it; "" for nothing.
    """

    item: str | int
    title: str
    score: float
    why: Explanation
    facts: str = ""
    note: str = ""

    def heaviest(self, count: int) -> tuple[list[tuple[str, float]], tuple[int, float]]:
        """The heaviest reasons by title, how many others there are, and what those weigh together."""
        reasons = self.why.reasons.filter(pl.lit(self.why.method != "popularity"))
        pairs = list(zip(reasons["reason"], reasons["weight"], strict=True))
        others = pairs[count:]
        return pairs[:count], (len(others), sum(weight for _, weight in others))

    def to_dict(self, count: int) -> dict[str, Any]:
        """The pick with its heaviest reasons, ready for JSON."""
        reasons = self.why.history.head(count).to_dicts()
        why = {"way": self.why.way, "method": self.why.method, "reasons": reasons, "sentence": self.why.sentence()}
        return {"item": self.item, "title": self.title, "score": self.score, **why}


@dataclass(frozen=True)
class Person:
    """Somebody who was recommended something.

    Attributes:
        name: who it is.
        facts: what is known of them.
        history: what they have chosen, in words.
        advice: for each model's name, what it picked.
    """

    name: str
    facts: str
    history: str
    advice: Mapping[str, Sequence[Pick]]


def picks_of(
    recommender: Recommender, user: str | int | None, k: int, *, history: Sequence[str | int] | None = None
) -> list[Pick]:
    """The k best items for a known user, or for a stranger with a history, each with its reasons."""
    rows = recommender.recommend([user], k) if user is not None else recommender.recommend_for(history or [], k)
    return [
        Pick(row["item"], row["title"], row["score"], recommender.explain(user, row["item"], history=history))
        for row in rows.to_dicts()
    ]


def card(person: Person, name: str, *, count: int = 4) -> str:
    """The card of one person.

    Args:
        name: a unique name for the card within its page.
        count: so many reasons are shown one by one.
    """
    advice = "".join(
        f'<div class="advice"><h4>{escape(model)} suggests</h4>'
        f"<ol>{''.join(_pick(pick, count, is_open=rank == 0) for rank, pick in enumerate(picks))}</ol></div>"
        for model, picks in person.advice.items()
    )
    return (
        f'<article class="card person" aria-labelledby="{name}"><h3 id="{name}">{escape(person.name)}</h3>'
        f'<p class="who">{escape(person.facts)}</p><p class="aside">{escape(person.history)}</p>'
        f'<div class="advices">{advice}</div></article>'
    )


def _pick(pick: Pick, count: int, *, is_open: bool) -> str:
    note = f'<span class="note">{escape(pick.note)}</span>' if pick.note else ""
    return (
        f'<li><details{" open" if is_open else ""}><summary><span class="film">{escape(pick.title)}</span> '
        f'<span class="about">{escape(pick.facts)}</span>{note}</summary>{_reasons(pick, count)}</details></li>'
    )


def _reasons(pick: Pick, count: int) -> str:
    reasons, (others, weight) = pick.heaviest(count)
    if not reasons:
        why = "because many have chosen it" if pick.why.method == "popularity" else "nothing in the history speaks for it"
        return f'<p class="aside">{why}</p>'
    is_share = pick.why.are_shares
    said = METHODS[pick.why.method].capitalize()
    most = max(abs(weight) for _, weight in reasons) or 1.0
    bars = [_bar(title, _weight(weight, is_share), weight / most) for title, weight in reasons]
    rest = [_line(f"{others:,} more together", _weight(weight, is_share))] if others else []
    return f'<p class="aside">{said}</p><ul class="bars">{"".join([*bars, *rest])}</ul>'


def _bar(title: str, weight: str, length: float) -> str:
    below = " below" if length < 0 else ""
    return _line(title, weight, f'<span class="bar{below}" style="width:{abs(length):.1%}" aria-hidden="true"></span>')


def _line(title: str, weight: str, bar: str = "") -> str:
    return f'<li><span class="why">{escape(title)}</span><span class="weight">{weight}</span>{bar}</li>'


def _weight(weight: float, is_share: bool) -> str:
    return f"{100 * weight:.0f} %" if is_share else f"{weight:+.3f}".replace("-", "−")
