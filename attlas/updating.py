"""A trained model and what has been chosen since: new rows, users and items come in by the shortest way that the model allows.

A model that is solved in one pass is solved anew, which is exact. One with a rule of its own follows the rows. Of any other the
tables grow: users with new rows are solved for, or fitted, as strangers are; new items are solved for from who chose them, or
fitted in the same way; and what is read from histories reads the longer ones at once.

Shapes: S users with new rows, J new items, U users, I items.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from attlas.data.arrivals import Arrivals, end_to_end, joined, of_labelled, read_events
from attlas.data.inputs import Inputs, Sizes
from attlas.data.interactions import Interactions
from attlas.errors import ConfigError
from attlas.frozen import Pairs, against_others, blocks, fit_rows
from attlas.growth import grown_features, grown_model, own_features, rows_of_items, rows_of_users
from attlas.memory import refuse_too_large
from attlas.models.protocol import Admitting, Sized, Updatable, asked_by, task_of
from attlas.scoring import PAIR_BYTES, Scorer
from attlas.strangers import FITTED, FOLDED, given_histories, way_of, welcome
from attlas.telling import Teller
from attlas.training.fit import fit as train
from attlas.training.solvers import make_solver

SOLVED, FOLLOWED = "exact: solved anew", "row by row, by the model's own rule"
FITTED_ITEMS, READ_ITEMS = "fitted item vector", "from who chose it"


@dataclass(frozen=True)
class Update:
    """What came in, and by which way.

    Attributes:
        rows: new rows, one for each pair of user and item.
        repeats: how many of these tell of a pair that was known.
        users, new_users: how many users have new rows, and how many of them were not trained on.
        items, new_items: the same of items.
        user_way, item_way: how users with new rows, and new items, got what they are scored by.
        is_exact: whether the model is the one that a fit of all rows gives.
        notes: what else a person should hear, one sentence each.
    """

    rows: int
    repeats: int
    users: int
    new_users: int
    items: int
    new_items: int
    user_way: str
    item_way: str
    is_exact: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {**dataclasses.asdict(self), "notes": list(self.notes)}

    def sentences(self) -> list[str]:
        """What a person should hear."""
        said = [f"{self.rows:,} rows came in, {self.repeats:,} of them about a known pair of user and item"]
        said.append(f"{self.users:,} users have new rows, {self.new_users:,} of them new: {self.user_way}")
        said.append(f"{self.items:,} items have new rows, {self.new_items:,} of them new: {self.item_way}")
        if not self.is_exact:
            said.append("all else stays as it was trained; what that costs shows beside a new fit")
        return [*said, *self.notes]


class Taken(NamedTuple):
    """A model that has taken new rows in, and how users and items came in."""

    model: nn.Module
    user_way: str
    item_way: str


def updated(
    scorer: Scorer, seen: Interactions, card: dict[str, Any], events: Any, columns: dict[str, Any], tell: Teller | None = None
) -> tuple[nn.Module, Inputs, dict[str, Any], Interactions]:
    """A recommender's model, inputs, card and seen rows once new rows have come in; what came is not changed.

    Args:
        scorer, seen, card: the recommender's.
        events: what ``read_events`` takes.
        columns: what differs from how the first rows were read.

    Raises:
        DataError: the new rows cannot be understood.
        ConfigError: the model cannot take them in.
    """
    known, features = scorer.train, scorer.inputs.given_features
    tables = card.get("experiment", {})
    settings = tables.get("data", {}) if features is None else of_labelled(features, tables.get("data", {}))
    came = read_events(events, settings, **columns)
    is_late = _late_rows(known, seen, came)
    if is_late.any():
        known = end_to_end(known, seen.take(is_late))
    arrivals = joined(known, came, repeat=settings.get("repeat", "count"))
    users, items = arrivals.data.users, arrivals.data.items
    unlearned = Interactions(users, items, seen.user[is_late], seen.item[is_late])
    new = end_to_end(unlearned, Interactions(users, items, arrivals.new.user, arrivals.new.item))
    grown = None if features is None else own_features(grown_features(features, users, items), new)
    data = Inputs(arrivals.data, device=scorer.inputs.device, features=grown)
    solver, seed = tables.get("solver", {}), tables.get("training", {}).get("seed", 1)
    taken = take_in(scorer, data, new, solver=solver, seed=seed, tell=tell)
    told = told_of(arrivals, scorer.train, taken)
    facts = {"users": len(users), "items": len(items), "train_rows": len(data.train), "fingerprint": data.train.fingerprint}
    after = {**card, "data": {**card.get("data", {}), **facts}, "updates": [*card.get("updates", ()), told.to_dict()]}
    pair, there = (rows.user * len(items) + rows.item for rows in (seen, data.train))
    left = seen.take(~np.isin(pair, there))
    return taken.model, data, after, dataclasses.replace(left, users=users, items=items)


def _late_rows(known: Interactions, seen: Interactions, came: Interactions) -> np.ndarray:
    """Which held-out rows now join the history: those of users with new rows of whom nothing had been trained on."""
    asked = known.users.find(came.users.ids.to_list())
    is_late_U = np.zeros(len(known.users), np.bool_)
    is_late_U[asked[asked >= 0]] = True
    is_late_U &= np.diff(known.by_user.indptr) == 0
    return is_late_U[seen.user] & (set(known.facts) - {"count"} <= set(seen.facts))


def take_in(
    scorer: Scorer, data: Inputs, new: Interactions, *, solver: dict[str, Any], seed: int, tell: Teller | None = None
) -> Taken:
    """A model that has taken the new rows in; the scorer's own is not changed.

    Args:
        scorer: of the model before.
        data: what is known by now.
        new: the rows that the model has not learned from, of the same vocabularies.
        solver: the settings of ``[solver]`` that the model was trained by.
        seed: of a solution anew.
        tell: shows a bar.

    Raises:
        ConfigError: the model has weights that no newcomer can be given, or rates and the rows have no ratings.
        TooLarge: solving anew is predicted to exceed the memory that is available.
    """
    model: Any = scorer.model
    with (tell or Teller()).bar("update", total=3) as bar:
        if make_solver(type(model)(Sizes(1, 1), model.config), solver).one_epoch:
            return Taken(_solved_anew(model, data, solver, seed), SOLVED, SOLVED)
        if isinstance(model, Updatable):
            made: Any = copy.deepcopy(model)
            made.update(data, new)
            return Taken(made, FOLLOWED, FOLLOWED)
        if task_of(model) == "rating" and data.train.rating is None:
            raise ConfigError("this run predicts ratings, and the new rows have none; name their column with rating (--rating)")
        made = grown_model(model, scorer.inputs.sizes, data.sizes)
        growing = _Growing(Scorer(made, data, budget=scorer.budget), scorer.train, new)
        user_way = growing.place_users()
        bar.update(1)
        item_way = growing.place_items()
        bar.update(2)
        if user_way == FOLDED and item_way == FOLDED and len(growing.new_item_J):
            growing.place_users()
    return Taken(made, user_way, item_way)


def _solved_anew(model: Any, data: Inputs, solver: dict[str, Any], seed: int) -> nn.Module:
    kind, config = type(model), model.config
    if isinstance(kind, Sized):
        refuse_too_large(f"{kind.__name__} solved anew", kind.memory(data.sizes, config), None, device=str(data.device))
    made = kind(data.sizes, config).to(data.device)
    train(made, make_solver(made, solver), data, epochs=1, seed=seed)
    return made.eval()


class _Growing:
    """A model whose tables have grown, while their new rows are filled."""

    def __init__(self, scorer: Scorer, before: Interactions, new: Interactions):
        self.scorer, self.model, self.data = scorer, scorer.model, scorer.inputs
        count_U, count_I = (np.diff(rows.indptr) for rows in (before.by_user, before.by_item))
        self.trained_user, self.trained_item = np.flatnonzero(count_U), np.flatnonzero(count_I)
        self.user_S = np.unique(new.user)
        self.new_item_J = np.setdiff1d(np.unique(new.item), self.trained_item)

    def place_users(self) -> str:
        """Rows for the users with new rows; says how."""
        way, train = way_of(self.model), self.data.train
        if "fields" in asked_by(self.model) or task_of(self.model) == "rating":
            self._fit("user", self.user_S, self.trained_user)
            return FITTED
        if way in (FOLDED, FITTED):
            for first in range(0, len(self.user_S), self.scorer.users_at_once):
                user_s = self.user_S[first : first + self.scorer.users_at_once]
                host: Any = welcome(self.scorer, train.counts_by_user[user_s], known=self.trained_user).model
                with torch.no_grad():
                    for name in host.user_tables:
                        getattr(self.model, name).weight[torch.from_numpy(user_s)] = getattr(host, name).weight
        return way

    def place_items(self) -> str:
        """Rows for new items; says how."""
        names, model = asked_by(self.model), self.model
        if isinstance(model, Admitting):
            chosen_JU = self.data.train.counts_by_user.T.tocsr()[self.new_item_J]
            chosen_JU.sort_indices()
            if len(self.new_item_J):
                item_J = torch.from_numpy(self.new_item_J).to(self.data.device)
                model.admit(item_J, given_histories(self.data, chosen_JU))
            return FOLDED
        if "item" not in names and "fields" not in names:
            return READ_ITEMS
        self._fit("item", self.new_item_J, self.trained_item)
        return FITTED_ITEMS

    def _fit(self, side: str, index: np.ndarray, trained: np.ndarray) -> None:
        """Fit the rows of some users or items to what is known of each, block by block."""
        train, features = self.data.train, self.data.features if "fields" in asked_by(self.model) else None
        rows = {"user": rows_of_users, "item": rows_of_items}[side]
        chosen = {"user": train.by_user, "item": train.by_item}[side][index]
        others = np.flatnonzero(np.diff({"user": train.by_item, "item": train.by_user}[side].indptr))
        known = rows(self.model, features, trained)
        for block in blocks(chosen, self.scorer.budget // PAIR_BYTES):
            if task_of(self.model) == "rating":
                row = np.flatnonzero(np.isin(getattr(train, side), index[block]))
                assert train.rating is not None
                pairs = Pairs(train.user[row], train.item[row], train.rating[row])
            else:
                owner, other, label = against_others(chosen[block], others)
                mine = index[block][owner]
                pairs = Pairs(mine, other, label) if side == "user" else Pairs(other, mine, label)
            fit_rows(self.model, self.data, rows(self.model, features, index[block]), known, pairs)


def told_of(arrivals: Arrivals, before: Interactions, taken: Taken) -> Update:
    """What came in, in numbers."""
    new = arrivals.new
    user, item = np.unique(new.user), np.unique(new.item)
    pair = np.unique(new.user * len(new.items) + new.item)
    known = np.unique(before.user * len(new.items) + before.item)
    trained = {"user": np.unique(before.user), "item": np.unique(before.item)}
    return Update(
        rows=len(new),
        repeats=len(np.intersect1d(pair, known)),
        users=len(user),
        new_users=len(np.setdiff1d(user, trained["user"])),
        items=len(item),
        new_items=len(np.setdiff1d(item, trained["item"])),
        user_way=taken.user_way,
        item_way=taken.item_way,
        is_exact=taken.user_way == SOLVED,
        notes=arrivals.notes,
    )
