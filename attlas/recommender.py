"""The artefact: a trained model that answers in outside ids, saves and loads itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from torch import nn

from attlas import artefact
from attlas.answers import Answer, best_items, check_choices, check_k, rows_of, score_in_context, similar_to
from attlas.data.inputs import Inputs
from attlas.data.interactions import Interactions
from attlas.data.vocabulary import listed
from attlas.errors import ArtefactError, ConfigError
from attlas.explanation import Explanation
from attlas.models import MODELS, model_class
from attlas.reasons import explain_pair
from attlas.scoring import DEFAULT_BUDGET, Scorer
from attlas.settings import build
from attlas.strangers import POPULAR, OpenScorer, one_row, score_strangers, way_of, welcome

Unknown = Literal["error", "popular", "learned"]


class Recommender:
    """Recommendations, similar items and reasons from one trained model.

    Args:
        model: trained.
        inputs: what its inputs are gathered from.
        card: what is known of the run; JSON can hold it.
        seen: further interactions whose items are not recommended, for instance those held out.
        reports: what evaluation found, one per protocol; empty for a run that was loaded or is final, whose card has numbers.
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
            ConfigError: the run was loaded, or is a final one; its numbers are in ``card["reports"]``.
        """
        if not self.reports:
            raise ConfigError(
                "a loaded or final run has no per-user values; its numbers are in card['reports']: or evaluate it anew"
            )
        return self.reports[0]

    def __repr__(self) -> str:
        return f"Recommender({self.card['model']['name']}, {len(self.users):,} users, {len(self.items):,} items)"

    @cached_property
    def chosen(self) -> Interactions:
        """All the rows that were given: those of training, and those held out."""
        parts = (self.inputs.train, self.seen)
        user, item = (np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "item"))
        counts = [np.ones(len(part), np.float32) if part.count is None else part.count for part in parts]
        known = None if parts[0].count is None else np.concatenate(counts)
        return Interactions(self.users, self.items, user, item, count=known)

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
        is_known = index >= 0
        score = np.empty((len(index), len(self.items)), np.float32)
        score[~is_known] = self.popularity
        is_scored = is_known | (unknown == "learned")
        if self.inputs.given_features is not None:
            score[is_scored], said = score_in_context(self.scorer, index[is_scored], context)
        else:
            score[is_scored], said = self.everybody.score_all(index[is_scored]), self.everybody.ways(index[is_scored])
        known_ways = iter(said)
        ways = [next(known_ways) if scored else POPULAR for scored in is_scored]
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

    def recommend_for(self, history: Sequence[str | int], k: int = 10, *, exclude_seen: bool = True) -> pl.DataFrame:
        """The k best items for a stranger who has chosen the given items.

        Returns:
            Columns rank, item, title, score and way: ``from the history``, ``folded in by one solve``, ``fitted user vector``,
            or ``popular`` where the history is empty or the model can make nothing of it.

        Raises:
            UnknownId: an item is not known.
            ConfigError: k is no whole number of at least 1.
        """
        check_k(k)
        chosen = np.unique(self.items.index_of(listed(history)))
        alone = one_row(chosen, len(self.items))
        score = score_strangers(self.scorer, alone)
        return best_items(self.items, score, k, hidden=alone if exclude_seen else None, ways=[self._way(chosen)]).frame()

    def _way(self, chosen: np.ndarray) -> str:
        return way_of(self.model) if len(chosen) else POPULAR

    def similar_items(self, item: str | int, k: int = 10) -> pl.DataFrame:
        """The k items most like one item, without it.

        Returns:
            Columns rank, item, title, score and way: ``item codes`` (cosine of what the model makes of each item), ``item
            weights`` (what choosing the item adds to each other) or ``chosen together`` (cosine of who chose them).

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
        self, user: str | int | None, item: str | int, *, history: Sequence[str | int] | None = None, top: int | None = None
    ) -> Explanation:
        """Why an item stands where it stands for a user, or for a stranger with the given history.

        Users without training rows are strangers whose history is what was held out of them.

        Args:
            user: an outside id; None for a stranger.
            item: the item to explain.
            history: a stranger's items.
            top: only so many of the heaviest entries.

        Raises:
            UnknownId: the user or an item is not known.
            ConfigError: neither or both of user and history are given.
        """
        if (user is None) == (history is None):
            raise ConfigError("explain wants either a user or a stranger's history; give exactly one of them")
        target = int(self.items.index_of([item])[0])
        if user is not None:
            index = int(self.users.index_of([user])[0])
            if self.everybody.is_trained[index]:
                return explain_pair(self.scorer, target, user=index, way="known user", top=top)
            alone = self.chosen.counts_by_user[[index]]
            chosen = alone.indices.astype(np.int64)
        else:
            chosen = np.unique(self.items.index_of(listed(history)))
            alone = one_row(chosen, len(self.items))
        scorer = welcome(self.scorer, alone) if len(chosen) else self.scorer
        return explain_pair(scorer, target, chosen=chosen, way=self._way(chosen), top=top)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write a run folder: whole, or not at all.

        Raises:
            ArtefactError: the folder is in use and ``overwrite`` is not set, or it cannot be written to.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ArtefactError(f"{folder} is a file; choose a folder for the run")
        if folder.exists() and any(folder.iterdir()) and not overwrite:
            raise ArtefactError(f"{folder} is not empty; choose another folder or overwrite it on purpose")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        except OSError as error:
            raise ArtefactError(f"could not write {folder}: {error}") from error
        try:
            self.write_into(staged)
            staged.chmod(0o755)
            artefact.move_into_place(staged, folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return folder

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
    model = chosen(inputs.sizes, build(chosen.Config, settings, where="model"))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ArtefactError(f"{folder} holds weights of another shape than its {name}; the run must be made anew") from error
    return Recommender(model.to(inputs.device).eval(), inputs, card=card, seen=seen, budget=budget)
