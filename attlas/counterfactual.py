"""What a score would be with another history: the entries are really taken out, and the model is asked again.

A model that reads the history reads what is left of it; the user's own vector, where there is one, stays as it is. A model
that asks for ``user`` alone has the vector solved or fitted anew for what is left, with the same negatives each time, so that
what changes is the entry's doing. Of a model that reads the whole matrix the user's cells are hidden.

Shapes: S histories, T entries of the whole one, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from attlas.awaiting import go_on
from attlas.errors import ConfigError
from attlas.models.protocol import asked_by, reads_history
from attlas.refitting import fit_parts
from attlas.scoring import Scorer
from attlas.strangers import FITTED, FOLDED, POPULAR, READ, given_histories, given_history, way_of, welcome

ENTRIES_AT_ONCE = 2**19  # of all histories of one block together
KNOWN, UNKNOWN = "known user", "unknown user"


@dataclass(frozen=True, eq=False)
class Asker:
    """Who is asked about.

    Attributes:
        way: how they came in: ``known user``, or one of the ways of strangers.
        chosen: what they have chosen and how often, [1, I] in a sorted sparse row.
        user: the index of a known user; None for a stranger.
        said: of a stranger to a run on feature fields, what is known of them and of the moment, by the name of the field.
    """

    way: str
    chosen: sparse.csr_array
    user: int | None = None
    said: Mapping[str, Any] | None = None

    def without(self, item: int) -> sparse.csr_array:
        """What they have chosen but for one item, [1, I]: nothing is among its own reasons."""
        is_kept = self.chosen.indices != item
        index, count = self.chosen.indices[is_kept].astype(np.int64), self.chosen.data[is_kept]
        return sparse.csr_array((count, index, np.array([0, len(index)])), shape=self.chosen.shape)


class LeftOut(NamedTuple):
    """The score without each entry of the history.

    Attributes:
        items: int64[T], the entries, rising.
        score: with the whole history.
        fall: float64[T], by how much the score falls without each entry; negative where it rises.
    """

    items: np.ndarray
    score: float
    fall: np.ndarray


def way_of_counterfactuals(model: nn.Module | type) -> str:
    """How a model is asked about another history: read, solved or fitted for, or hidden in the matrix.

    Raises:
        ConfigError: its scores follow from no history.
    """
    names = asked_by(model)
    if "user_history" in names:
        return READ
    if "user" in names and way_of(model) in (FOLDED, FITTED):
        return way_of(model)
    if reads_history(model):
        return "hidden in the matrix"
    name = model.__name__ if isinstance(model, type) else type(model).__name__
    raise ConfigError(
        f"{name} scores from no history, so that nothing can be taken out of it; leave method='counterfactual' out"
    )


def leave_one_out(scorer: Scorer, item: int, asker: Asker) -> LeftOut:
    """The score of an item with the whole history less that without each entry, exactly.

    Raises:
        ConfigError: the model scores from no history.
    """
    count = asker.without(item).nnz
    kept_ST = np.ones((count + 1, count), bool)
    kept_ST[1:][np.diag_indices(count)] = False
    score_S = score_with(scorer, item, asker, kept_ST)
    return LeftOut(asker.without(item).indices.astype(np.int64), float(score_S[0]), score_S[0] - score_S[1:])


def score_with(scorer: Scorer, item: int, asker: Asker, kept_ST: np.ndarray) -> np.ndarray:
    """The score of an item with each of several parts of a user's history, float64[S].

    Args:
        item: an index; it is itself in no history.
        kept_ST: bool[S, T], which entries of ``asker.without(item)`` stand in each history.

    Raises:
        ConfigError: the model scores from no history.
    """
    way, whole = way_of_counterfactuals(scorer.model), asker.without(item)
    if way == READ:
        return _reread(scorer, item, asker, whole, kept_ST)
    if way in (FOLDED, FITTED):
        return _refitted(scorer, item, whole, _parts(whole, kept_ST))
    return _hidden(scorer, item, asker, whole.indices, kept_ST)


def _parts(whole: sparse.csr_array, kept_ST: np.ndarray) -> sparse.csr_array:
    """Several parts of one history, [S, I] in sorted sparse rows."""
    entry = np.nonzero(kept_ST)[1]
    start = np.concatenate([[0], np.cumsum(kept_ST.sum(1))])
    return sparse.csr_array((whole.data[entry], whole.indices[entry], start), shape=(len(kept_ST), whole.shape[1]))


def _reread(scorer: Scorer, item: int, asker: Asker, whole: sparse.csr_array, kept_ST: np.ndarray) -> np.ndarray:
    host, user = (scorer, asker.user) if asker.user is not None else (as_host(scorer, asker), 0)
    names, inputs, parts = host.names, scorer.inputs, []
    theirs = inputs.train.by_item[[item]].indices.astype(np.int64) if "item_history" in names else np.zeros(0, np.int64)
    audience = given_history(inputs, theirs if asker.user is None else theirs[theirs != asker.user])
    binary = sparse.csr_array((np.ones(whole.nnz, np.float32), whole.indices, whole.indptr), shape=whole.shape)
    longest = max(1, int(kept_ST.sum(1).max(initial=0)))
    rows = max(1, min(scorer.users_at_once, ENTRIES_AT_ONCE // longest))
    for first in range(0, len(kept_ST), rows):
        go_on()
        block = _parts(binary, kept_ST[first : first + rows])
        same = torch.zeros(block.shape[0], dtype=torch.int64, device=inputs.device)
        made = {
            "user": same + user,
            "item": same + item,
            "user_history": given_histories(inputs, block),
            "item_history": audience.of_pairs(same),
        }
        with torch.inference_mode():
            parts.append(host.model(**{name: made[name] for name in names}))
    return _doubles(torch.cat(parts))


def _refitted(scorer: Scorer, item: int, whole: sparse.csr_array, chosen_SI: sparse.csr_array) -> np.ndarray:
    if way_of(scorer.model) == FOLDED:
        model = welcome(scorer, chosen_SI).model
    else:
        model = fit_parts(scorer, chosen_SI, whole.indices.astype(np.int64))
    user_S = torch.arange(chosen_SI.shape[0], device=scorer.inputs.device)
    made: dict[str, Any] = {"user": user_S, "item": torch.full_like(user_S, item)}
    with torch.inference_mode():
        return _doubles(model(**{name: made[name] for name in scorer.names}))


@torch.inference_mode()
def _hidden(scorer: Scorer, item: int, asker: Asker, items: np.ndarray, kept_ST: np.ndarray) -> np.ndarray:
    if asker.user is None:
        raise ConfigError(f"{type(scorer.model).__name__} knows no strangers; ask about one of the users it was trained on")
    inputs = scorer.inputs
    pair = {name: torch.tensor([index], device=inputs.device) for name, index in (("user", asker.user), ("item", item))}
    scores = []
    for kept_T in kept_ST:
        go_on()
        gone = torch.from_numpy(np.append(items[~kept_T], item).astype(np.int64)).to(inputs.device)
        observed = inputs.observed.hide(torch.full_like(gone, asker.user), gone)
        scores.append(scorer.model(**pair, observed=observed))
    return _doubles(torch.cat(scores))


def as_host(scorer: Scorer, asker: Asker) -> Scorer:
    """A scorer whose only user is the stranger; the same scorer for a known user, or where nothing can be made of a history."""
    is_stranger = asker.user is None and asker.way != POPULAR
    return welcome(scorer, asker.chosen) if is_stranger else scorer


def _doubles(score_S: Tensor) -> np.ndarray:
    found: np.ndarray = score_S.double().cpu().numpy()
    return found
