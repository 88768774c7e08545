"""One run behind the service: its recommender, asked in outside ids and answering as plain data ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from attlas.answers import Answer
from attlas.data.fields import Field
from attlas.data.interactions import FACTS, Interactions
from attlas.data.vocabulary import Vocabulary
from attlas.errors import AttlasError, ConfigError, UnknownId, nearest
from attlas.models.protocol import task_of
from attlas.models.reasons import reasons_of
from attlas.recommender import Recommender
from attlas.strangers import POPULAR, way_of
from attlas.web.names import Names

MOST_CATEGORIES = 1_000

Id = str | int


class Served:
    """A recommender under a name.

    Args:
        name: what requests call it.
        recommender: trained.
    """

    def __init__(self, name: str, recommender: Recommender):
        self.name, self.recommender = name, recommender

    @cached_property
    def items(self) -> Names:
        """The items; those that most users have chosen come first in a search."""
        return Names(self.recommender.items, np.diff(self.recommender.chosen.by_item.indptr))

    @cached_property
    def users(self) -> Names:
        """The users; those who have chosen most come first in a search."""
        return Names(self.recommender.users, np.diff(self.recommender.chosen.by_user.indptr))

    def warm(self) -> None:
        """Make all that is made when first asked for, so that no request waits for it."""
        recommender, items, users = self.recommender, self.items, self.users
        recommender.scorer.prepare()
        if not len(items.ids) or not len(users.ids):
            return
        item, user = items.ids[0], users.ids[int(recommender.chosen.user[0]) if len(recommender.chosen) else 0]
        asked: list[Callable[[], Any]] = [
            lambda: self.recommend(user, 10),
            lambda: self.recommend_for(items.ids[:2], 10),
            lambda: self.similar(item, 10),
            lambda: self.explain(item, user),
            lambda: self.history(user, 10),
        ]
        for deed in asked:
            with suppress(AttlasError):  # what a model cannot do it says whenever it is asked
                deed()

    def recommend(self, user: Id, k: int, **choices: Any) -> dict[str, Any]:
        """The k best items for one user, with the choices of ``Recommender.recommend``."""
        return {"model": self.name, **self._lists([user], k, **choices)[0]}

    def batch(self, users: Sequence[Id], k: int, **choices: Any) -> dict[str, Any]:
        """The same for several."""
        return {"model": self.name, "lists": self._lists(users, k, **choices)}

    def _lists(self, users: Sequence[Id], k: int, **choices: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for answer in self.recommender.answers(users, k, **choices):
            for row, way in enumerate(answer.ways):
                asked = _called(self.recommender.users, self.users, users[len(found)])
                found.append({**asked, "way": way, "items": self._ranked(answer, row)})
        return found

    def _ranked(self, answer: Answer, row: int) -> list[dict[str, Any]]:
        ids, titles = self.items.ids, self.items.titles
        places = enumerate(zip(answer.index[row].tolist(), answer.score[row].tolist(), strict=True), start=1)
        return [
            {"rank": rank, "item": ids[index], "title": titles[index], "score": score}
            for rank, (index, score) in places
            if index >= 0
        ]

    def recommend_for(self, history: Sequence[Id], k: int, **choices: Any) -> dict[str, Any]:
        """The k best items for a stranger, with the choices of ``Recommender.recommend_for``."""
        return self._from_frame(self.recommender.recommend_for(history, k, **choices))

    def similar(self, item: Id, k: int) -> dict[str, Any]:
        """The k items most like one."""
        asked = self.items.of(int(self.recommender.items.index_of([item])[0]))
        found = self._from_frame(self.recommender.similar_items(item, k))
        return {"item": asked["id"], "title": asked["title"], **found}

    def _from_frame(self, frame: Any) -> dict[str, Any]:
        way = frame["way"][0] if len(frame) else POPULAR
        return {"model": self.name, "way": way, "items": frame.select("rank", "item", "title", "score").to_dicts()}

    def explain(self, item: Id, user: Id | None = None, **choices: Any) -> dict[str, Any]:
        """Why one item, with the choices of ``Recommender.explain``."""
        why = self.recommender.explain(user, item, **choices)
        return {"model": self.name, "sentence": why.sentence(), **why.to_dict()}

    def history(self, user: Id, limit: int) -> dict[str, Any]:
        """What one user has chosen, the latest first where times are known."""
        recommender = self.recommender
        index = int(recommender.users.index_of([user])[0])
        rows = [*_rows(recommender.inputs.train, index, False), *_rows(recommender.seen, index, True)]
        if all("time" in row for row in rows):
            rows.sort(key=lambda row: -row["time"])
        items = self.items
        for row in rows[:limit]:
            row.update(item=items.ids[row["item"]], title=items.titles[row["item"]])
        return {"model": self.name, **_called(recommender.users, self.users, user), "total": len(rows), "history": rows[:limit]}

    def search(self, kind: str, text: str, limit: int) -> dict[str, Any]:
        """Items or users whose id or title holds a text."""
        found, total = (self.items if kind == "item" else self.users).search(text, limit)
        return {"model": self.name, "kind": kind, "total": total, "found": found}

    def facts(self) -> dict[str, Any]:
        """What this run is, how much it knows, whom it serves and what it can say."""
        recommender = self.recommender
        model, features = recommender.model, recommender.inputs.given_features
        fields = () if features is None else features.fields
        report = next(iter(recommender.card.get("reports") or ()), None)
        own = features.places("user")[0] if features is not None else -1
        of_user = [field for place, field in enumerate(fields) if field.role == "user" and place != own]
        return {
            "name": self.name,
            "model": recommender.card["model"]["name"],
            "task": task_of(model),
            "users": len(recommender.users),
            "items": len(recommender.items),
            "interactions": len(recommender.chosen),
            "explains": reasons_of(model),
            "serves_strangers": way_of(model) != POPULAR,
            "strangers": way_of(model),
            "unknown": ["error", "popular"] if features is None else ["error", "popular", "learned"],
            "context": [_field(field) for field in fields if field.role == "context"],
            "features": [_field(field) for field in of_user],
            "measured": report and report["means"],
            "protocol": report and report["protocol"],
        }


class Shelf:
    """The runs that are served, by name.

    Args:
        recommenders: at least one; the first is asked where a request names none.

    Raises:
        ConfigError: there is none.
    """

    def __init__(self, recommenders: Mapping[str, Recommender]):
        if not recommenders:
            raise ConfigError("nothing to serve; give at least one run")
        self.runs = {name: Served(name, recommender) for name, recommender in recommenders.items()}

    def find(self, name: str | None) -> Served:
        """The run of that name; the first where none is named.

        Raises:
            UnknownId: no run is called so.
        """
        if name is None:
            return next(iter(self.runs.values()))
        if name not in self.runs:
            raise UnknownId(f"no model {name!r} is served here; {nearest(name, self.runs)}")
        return self.runs[name]


def _called(known: Vocabulary, names: Names, user: Id) -> dict[str, Any]:
    """A user as the data spell them; an unknown one as they were given."""
    index = int(known.find([user])[0])
    return {"user": user, "title": str(user)} if index < 0 else {"user": names.ids[index], "title": names.titles[index]}


def _rows(part: Interactions, user: int, held_out: bool) -> list[dict[str, Any]]:
    """The rows of one user with their facts; items by index."""
    row_N = np.flatnonzero(part.user == user)
    columns = {"item": part.item, **{name: values for name, values in part.facts.items() if name in FACTS}}
    taken = {name: values[row_N].tolist() for name, values in columns.items()}
    return [{**dict(zip(taken, values, strict=True)), "held_out": held_out} for values in zip(*taken.values(), strict=True)]


def _field(field: Field) -> dict[str, Any]:
    holds = field.kind in ("category", "bag")
    categories = field.known.ids.head(MOST_CATEGORIES).to_list() if holds else None
    return {"name": field.name, "kind": field.kind, "size": len(field.known), "categories": categories}
