"""The artefact: a trained model that answers in outside ids, saves and loads itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from torch import nn

from attlas import artefact
from attlas.answers import Answer, best_items, check_choices, check_k, rows_of, score_asked, similar_to
from attlas.data.arrivals import end_to_end
from attlas.data.inputs import Inputs
from attlas.data.interactions import Interactions
from attlas.data.vocabulary import listed
from attlas.errors import ArtefactError, ConfigError
from attlas.explanation import Explanation
from attlas.models import MODELS, model_class
from attlas.reasons import asker_of, explain_score
from attlas.scoring import DEFAULT_BUDGET, Scorer
from attlas.settings import build
from attlas.strangers import OpenScorer, one_row, score_stranger
from attlas.telling import Teller
from attlas.updating import updated

Unknown = Literal["error", "popular", "learned"]


class Recommender:
    """Recommendations, similar items and reasons from one trained model.

    Args:
        model: trained.
        inputs: what its inputs are gathered from.
        card: what is known of the run; JSON can hold it.
        seen: further interactions whose items are not recommended, for instance those held out.
        reports: what evaluation found, one per protocol; empty for a run that was loaded or updated or is final: see its card.
        budget: bytes that one answer may build at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        *,
        card: dict[str, Any],
        seen: Interactions | None = None,
        reports: Sequence[Any] = (),
        budget: int = DEFAULT_BUDGET,
    ):
        self.model, self.inputs, self.card = model, inputs, card
        self.seen = inputs.train.take(np.zeros(0, np.int64)) if seen is None else seen
        self.scorer = Scorer(model, inputs, budget=budget)
        self.users, self.items = inputs.train.users, inputs.train.items
        self.reports = list(reports)

    @property
    def report(self) -> Any:
        """What evaluation found under the first protocol.

        Raises:
            ConfigError: the run was loaded or updated, or is a final one; its numbers are in ``card["reports"]``.
        """
        if not self.reports:
            raise ConfigError(
                "a loaded, updated or final run has no per-user values; its numbers are in card['reports']; a loaded one "
                "can be evaluated anew"
            )
        return self.reports[0]

    def __repr__(self) -> str:
        return f"Recommender({self.card['model']['name']}, {len(self.users):,} users, {len(self.items):,} items)"

    @cached_property
    def chosen(self) -> Interactions:
        """All the rows that were given: those of training, and those held out."""
        return end_to_end(self.inputs.train, self.seen)

    @property
    def hidden(self) -> Any:
        """What each user has chosen in all the data that was given, binary [U, I] in sorted sparse rows."""
        return self.chosen.by_user

    def recommend(
        self,
        users: Sequence[str | int],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str | int] | None = None,
        unknown: Unknown = "error",
        context: Mapping[str, Any] | None = None,
    ) -> pl.DataFrame:
        """The k best items for each user.

        Args:
            users: outside ids.
            k: how many; fewer where fewer are left.
            exclude_seen: leave out what the user has chosen, held-out items included.
            candidates: rank these items only, by outside id.
            unknown: what to do with a user that the model has never seen: ``error``, or answer with the most ``popular``, or,
                where labelled rows were learned from, with what was ``learned`` of unknown users.
            context: where labelled rows were learned from, what is known of the moment, by the name of its field.

        Returns:
            Columns user, rank, item, title, score and way, best first. Way is ``known user`` for one who was trained on. Who
            has only held-out rows is answered from those as ``recommend_for`` answers, and with its ways; who has none, and
            an unknown user, gets what is ``popular``. In context a way also says what was unknown. Users are spelled as in
            the data; all are text where an unknown one cannot be.

        Raises:
            UnknownId: a user or candidate is not known.
            ConfigError: k is no whole number of at least 1, ``unknown`` is something else, or the run knows no such context.
        """
        choices: dict[str, Any] = {"exclude_seen": exclude_seen, "candidates": candidates, "unknown": unknown}
        frames = list(self.recommend_blocks(users, k, context=context, **choices))
        return pl.concat(frames) if frames else self._answer(np.zeros(0, np.int64)).frame(self.users.spelled([]))

    def recommend_blocks(self, users: Sequence[str | int], k: int = 10, **choices: Any) -> Iterator[pl.DataFrame]:
        """As ``recommend``, with its choices, in blocks of users that fit the memory budget."""
        users, first = listed(users), 0
        asked = self.users.spelled(users)
        for answer in self.answers(users, k, **choices):
            yield answer.frame(asked[first : first + len(answer.ways)])
            first += len(answer.ways)

    def answers(
        self,
        users: Sequence[str | int],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str | int] | None = None,
        unknown: Unknown = "error",
        context: Mapping[str, Any] | None = None,
    ) -> Iterator[Answer]:
        """As ``recommend_blocks``, in inside indices: what is quickest for one user."""
        check_k(k)
        check_choices(unknown, context, self.inputs.given_features)
        index = (self.users.index_of if unknown == "error" else self.users.find)(listed(users))
        allowed = None if candidates is None else self.items.index_of(listed(candidates))
        for first in range(0, len(index), self.scorer.users_at_once):
            yield self._answer(index[first : first + self.scorer.users_at_once], k, exclude_seen, allowed, context, unknown)

    def _answer(
        self,
        index: np.ndarray,
        k: int = 1,
        exclude_seen: bool = True,
        allowed: np.ndarray | None = None,
        context: Mapping[str, Any] | None = None,
        unknown: Unknown = "error",
    ) -> Answer:
        score, ways = score_asked(self.everybody, self.popularity, index, context, unknown)
        hidden = rows_of(self.hidden, index) if exclude_seen else None
        return best_items(self.items, score, k, hidden=hidden, allowed=allowed, ways=ways)

    @cached_property
    def everybody(self) -> OpenScorer:
        """Scores of all users; those without training rows are strangers, known by what was held out of them."""
        return OpenScorer(self.scorer, self.chosen.counts_by_user)

    @cached_property
    def popularity(self) -> np.ndarray:
        """How many users have chosen each item, float32[I]."""
        return np.diff(self.inputs.train.by_item.indptr).astype(np.float32)

    def recommend_for(
        self,
        history: Sequence[str | int],
        k: int = 10,
        *,
        features: Mapping[str, Any] | None = None,
        exclude_seen: bool = True,
    ) -> pl.DataFrame:
        """The k best items for a stranger who has chosen the given items, or of whom something is known.

        Args:
            history: items that they have chosen; may be empty.
            features: where labelled rows were learned from, what is known of the stranger and of the moment, by the name of
                its field: a category, a number, or a list of categories.

        Returns:
            Columns rank, item, title, score and way: ``from the history``, ``folded in by one solve``, ``fitted user vector``,
            or ``popular`` where the history is empty or the model can make nothing of it. With features it is ``unknown user``
            where the history is empty, and it says what was unknown.

        Raises:
            UnknownId: an item is not known.
            ConfigError: k is no whole number of at least 1, or the run knows no such feature.
        """
        check_k(k)
        alone = one_row(np.unique(self.items.index_of(listed(history))), len(self.items))
        score, way = score_stranger(self.scorer, alone, features)
        return best_items(self.items, score, k, hidden=alone if exclude_seen else None, ways=[way]).frame()

    def similar_items(self, item: str | int, k: int = 10) -> pl.DataFrame:
        """The k items most like one item, without it.

        Returns:
            Columns rank, item, title, score and way: ``item codes`` (cosine of what the model makes of each item, but for
            biases), ``item weights`` (what choosing the item adds to each other) or ``chosen together`` (cosine of who did).

        Raises:
            UnknownId: the item is not known.
            ConfigError: k is no whole number of at least 1.
        """
        check_k(k)
        index = int(self.items.index_of([item])[0])
        score, way = similar_to(self.scorer, index)
        itself = one_row(np.array([index]), len(self.items))
        return best_items(self.items, score[None], k, hidden=itself, ways=[way]).frame()

    def explain(
        self,
        user: str | int | None,
        item: str | int,
        *,
        history: Sequence[str | int] | None = None,
        features: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        method: Literal["counterfactual"] | None = None,
        top: int | None = None,
    ) -> Explanation:
        """Why an item stands where it stands for a user, or for a stranger with the given history.

        Args:
            user: an outside id; None for a stranger. Users without training rows are strangers by what was held out of them;
                where labelled rows were learned from, an unknown user is explained as such.
            history: a stranger's items; may be empty.
            features: what ``recommend_for`` was told of the stranger and of the moment.
            context: where labelled rows were learned from, what is known of the moment, by the name of its field.
            method: ``counterfactual``: the fall of the score without each entry of the history; None: what the model gives.
            top: only so many of the heaviest reasons.

        Raises:
            UnknownId: the user or an item is not known.
            ConfigError: neither or both of user and history are given, or the run knows no such features, context or method.
        """
        check_choices("error", context, self.inputs.given_features)
        target, asker = int(self.items.index_of([item])[0]), asker_of(self, user, history, features)
        return explain_score(self.scorer, target, asker, method=method, context=context, top=top)

    def update(self, events: Any, *, tell: Teller | None = None, **columns: Any) -> Recommender:
        """A recommender that knows what has been chosen since; this one stays as it is.

        New users and items come in by the shortest way that the model allows: see ``attlas.updating``. What came, and how, is
        the last of ``card["updates"]``.

        Args:
            events: new rows in outside ids, read and cleaned as the first were: a path, a frame, Interactions, or a list of
                rows such as ``("m17", "f42")`` or ``{"user": "m17", "item": "f42"}``.
            columns: what differs from how the first rows were read; see ``attlas.data.arrivals.read_events``.

        Raises:
            DataError: no row came, or what came cannot be understood.
            ConfigError: there is no such setting, or the model cannot take them in.
        """
        parts = updated(self.scorer, self.seen, self.card, events, columns, tell)
        return Recommender(*parts[:2], card=parts[2], seen=parts[3], budget=self.scorer.budget)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write a run folder: whole, or not at all.

        Raises:
            ArtefactError: the folder is in use and ``overwrite`` is not set, holds anything but a run, or cannot be written to.
        """
        return artefact.write_anew(Path(folder), self.write_into, overwrite=overwrite)

    def write_into(self, folder: Path) -> None:
        """Write the run's files into a folder that may hold others; the manifest comes last."""
        weights, features = self.model.state_dict(), self.inputs.given_features
        artefact.write(folder, self.card, weights, self.inputs.train, self.seen, features)


def load(folder: str | Path, *, device: str = "cpu", budget: int = DEFAULT_BUDGET) -> Recommender:
    """A recommender from a run folder; needs neither the training data nor the settings it was made with.

    Raises:
        ArtefactError: the folder is no run of ours, of another version, truncated or altered.
    """
    card, weights, train, seen = artefact.read(Path(folder))
    name = card["model"]["name"]
    if name not in MODELS:
        raise ArtefactError(f"{folder} holds a {name!r}, which this attlas does not know; install the attlas that wrote it")
    settings = card["model"]["config"]
    chosen: Any = model_class(name)
    inputs = Inputs(train, device=device, features=artefact.read_features(Path(folder), card, train))
    try:
        model = chosen(inputs.sizes, build(chosen.Config, settings, where="model"))
        model.load_state_dict(weights)
    except ConfigError as error:
        raise ArtefactError(f"{folder} was written by another attlas: {error}; install the attlas that wrote it") from error
    except RuntimeError as error:
        raise ArtefactError(f"{folder} holds weights of another shape than its {name}; the run must be made anew") from error
    return Recommender(model.to(inputs.device).eval(), inputs, card=card, seen=seen, budget=budget)
