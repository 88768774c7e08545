"""Whoever the model was not trained on, scored from what they have chosen.

A model that does without ``user`` reads the history as anybody's. One that folds in solves for the user rows; any other
that names its user tables gets user vectors fitted to the histories with everything else frozen. What is left, and who has
chosen nothing, gets what is popular. Whatever asks for strangers' scores comes here: answers, reasons and evaluation.

Shapes: S strangers, V users asked for, U users, I items, N items of histories and negatives drawn against them, D embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import FULL_TABLE_SHARE, History, Inputs, whole
from attlas.data.interactions import Interactions
from attlas.frozen import against_others, against_prior, blocks, descend, prior_of
from attlas.guests import check_said, receive
from attlas.models.protocol import Folding, Separable, Welcoming, asked_by
from attlas.ops.ragged import Ragged
from attlas.scoring import PAIR_BYTES, Scorer

POPULAR, READ, FOLDED, FITTED = "popular", "from the history", "folded in by one solve", "fitted user vector"


class OpenScorer:
    """A scorer for everybody: who was trained on is scored by the model, others as strangers.

    Args:
        scorer: of a trained model.
        chosen_UI: what is known of each user and how often, in sorted sparse rows; read for those without training rows only.
    """

    def __init__(self, scorer: Scorer, chosen_UI: sparse.csr_array):
        self.scorer, self.chosen_UI = scorer, chosen_UI
        self.is_trained = np.diff(scorer.train.by_user.indptr) > 0

    @property
    def train(self) -> Interactions:
        """What the model's histories are made of."""
        return self.scorer.train

    @property
    def users_at_once(self) -> int:
        """How many users' rows fit the budget."""
        return self.scorer.users_at_once

    def score_all(self, user: np.ndarray) -> np.ndarray:
        """The score of every item for each user, float32[V, I]."""
        score_VI = np.empty((len(user), self.scorer.inputs.sizes.num_items), np.float32)
        is_trained_V = self.is_trained[user]
        if is_trained_V.any():
            score_VI[is_trained_V] = self.scorer.score_all(user[is_trained_V])
        if not is_trained_V.all():
            score_VI[~is_trained_V] = score_strangers(self.scorer, self.chosen_UI[user[~is_trained_V]])
        return score_VI

    def score(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """The score of each pair, float32[B], by the whole catalogue of each user."""
        score_B = np.empty(len(user), np.float32)
        users, row_B = np.unique(user, return_inverse=True)
        for first in range(0, len(users), self.users_at_once):
            is_here_B = (row_B >= first) & (row_B < first + self.users_at_once)
            block_VI = self.score_all(users[first : first + self.users_at_once])
            score_B[is_here_B] = block_VI[row_B[is_here_B] - first, item[is_here_B]]
        return score_B

    def ways(self, user: np.ndarray) -> list[str]:
        """How each user is scored, [V]."""
        way, knows_U = way_of(self.scorer.model), np.diff(self.chosen_UI.indptr) > 0
        return ["known user" if self.is_trained[u] else way if knows_U[u] else POPULAR for u in user]


def way_of(model: nn.Module | type) -> str:
    """How a model scores strangers who have chosen something; a class answers as its instances do."""
    names = asked_by(model)
    if "fields" in names:
        return FITTED
    if "user" not in names:
        return READ if "user_history" in names else POPULAR
    if isinstance(model, Folding):
        return FOLDED
    return FITTED if isinstance(model, Welcoming) else POPULAR


def score_strangers(scorer: Scorer, chosen_SI: sparse.csr_array) -> np.ndarray:
    """The score of every item for each stranger, float32[S, I].

    Args:
        chosen_SI: what each of them has chosen and how often, in sorted sparse rows.
    """
    score_SI = np.empty(chosen_SI.shape, np.float32)
    score_SI[:] = np.diff(scorer.train.by_item.indptr)
    row_R = np.flatnonzero(np.diff(chosen_SI.indptr))
    if len(row_R) and way_of(scorer.model) != POPULAR:
        host, chosen_RI = welcome(scorer, chosen_SI[row_R]), chosen_SI[row_R]
        if "fields" in scorer.names:
            score_SI[row_R] = host.score_all(np.arange(len(row_R)))
            return score_SI
        user_R = torch.arange(len(row_R), device=scorer.inputs.device)
        made = {"user": user_R, "user_history": given_histories(scorer.inputs, chosen_RI)}
        with torch.inference_mode():
            score_SI[row_R] = host.score_catalogue(made).float().cpu().numpy()
    return score_SI


def score_stranger(
    scorer: Scorer, chosen_1I: sparse.csr_array, said: Mapping[str, Any] | None = None
) -> tuple[np.ndarray, str]:
    """The score of every item for one stranger, float32[1, I], and how it was come by.

    Args:
        chosen_1I: what the stranger has chosen, perhaps nothing.
        said: of a run on feature fields, what is known of them and of the moment, by the name of the field.

    Raises:
        ConfigError: no field of the user or of the context has that name, or the run has no fields.
    """
    check_said(scorer, said)
    if said is None:
        return score_strangers(scorer, chosen_1I), way_of(scorer.model) if chosen_1I.nnz else POPULAR
    guest = receive(scorer, chosen_1I, said)
    way = FITTED if chosen_1I.nnz else "unknown user"
    return guest.score_all(), way + (f"; unknown: {', '.join(guest.unknown)}" if guest.unknown else "")


def welcome(scorer: Scorer, chosen_SI: sparse.csr_array, *, known: np.ndarray | None = None) -> Scorer:
    """A scorer whose users 0 to S - 1 are the strangers; for a model that can make nothing of a history, the same scorer.

    Args:
        known: the users whose vectors say what to expect; None means all with training rows.
    """
    model, way = scorer.model, way_of(scorer.model)
    if "fields" in scorer.names:
        return receive(scorer, chosen_SI).scorer
    if way == FOLDED:
        assert isinstance(model, Folding)
        widths = [getattr(model, name).weight.shape[1] for name in model.user_tables]
        with torch.no_grad():
            parts = model.fold_in(given_histories(scorer.inputs, chosen_SI)).split(widths, dim=1)
        host = with_users(model, dict(zip(model.user_tables, parts, strict=True)))
    elif way == FITTED:
        host = fit_users(model, scorer, chosen_SI, known=known)
    else:
        return scorer
    return Scorer(host, scorer.inputs, like=scorer)


def one_row(items: np.ndarray, num_items: int) -> sparse.csr_array:
    """What one stranger has chosen, [1, I], from sorted indices."""
    return sparse.csr_array((np.ones(len(items), np.float32), items, np.array([0, len(items)])), shape=(1, num_items))


def given_history(inputs: Inputs, items: np.ndarray) -> History:
    """One stranger's history, asked for once.

    Args:
        inputs: whose device is used.
        items: sorted indices of the items chosen (or of the users who chose), each once.
    """
    lists = Ragged(_long(np.array([0, len(items)]), inputs), _long(np.arange(len(items)), inputs), len(items))
    row_B = torch.zeros(1, dtype=torch.int64, device=inputs.device)
    return History(_long(items, inputs), lists, row_B, torch.full_like(row_B, -1))


def given_histories(
    inputs: Inputs, chosen_SI: sparse.csr_array, row_B: np.ndarray | None = None, asked_B: np.ndarray | None = None
) -> History:
    """Strangers' histories, each asked for once, or by pairs of which each leaves its own item out.

    Args:
        inputs: whose device is used.
        chosen_SI: what each stranger has chosen and how often, in sorted sparse rows.
        row_B, asked_B: the stranger and the item of each pair.
    """
    start, index, width = chosen_SI.indptr, chosen_SI.indices.astype(np.int64), chosen_SI.shape[1]
    distinct = np.unique(index) if len(index) < FULL_TABLE_SHARE * width else np.arange(width)
    place = np.searchsorted(distinct, index)
    lists = Ragged(_long(start, inputs), _long(place, inputs), len(distinct))
    if row_B is None or asked_B is None:
        asker_S = torch.arange(lists.count, device=inputs.device)
        value_T = None if (chosen_SI.data == 1).all() else torch.from_numpy(chosen_SI.data).float().to(inputs.device)
        return History(_long(distinct, inputs), lists, asker_S, torch.full_like(asker_S, -1), value_T)
    asker_B = _long(row_B, inputs)
    left_out_B = Ragged(lists.start, _long(index, inputs), width).find(asker_B, _long(asked_B, inputs))
    return History(_long(distinct, inputs), lists, asker_B, left_out_B)


def _long(values: np.ndarray, inputs: Inputs) -> Tensor:
    return torch.as_tensor(values, dtype=torch.int64, device=inputs.device)


def fit_users(model: nn.Module, scorer: Scorer, chosen_SI: sparse.csr_array, *, known: np.ndarray | None = None) -> nn.Module:
    """The same model with the strangers for its users, whose vectors explain the given histories best.

    The loss is the pointwise one on the history and random other items, plus a Gaussian prior with the mean and spread of
    the vectors of the users that were trained on. Equal histories give equal vectors: a stranger's depends on nobody else's,
    so that many are fitted in one descent.

    Args:
        model: one that names its user tables; it is not changed.
        scorer: of that model.
        chosen_SI: what each stranger has chosen, binary in sorted sparse rows, none of them empty.
        known: the users whose vectors say what to expect; None means all with training rows.
    """
    parts = blocks(chosen_SI, scorer.budget // PAIR_BYTES)
    fitted = [_descend(model, scorer, chosen_SI[block], known) for block in parts]
    assert isinstance(model, Welcoming)
    return with_users(model, {name: torch.cat([rows[name] for rows in fitted]) for name in model.user_tables})


def _descend(model: nn.Module, scorer: Scorer, chosen_SI: sparse.csr_array, known: np.ndarray | None) -> dict[str, Tensor]:
    """The fitted rows of each user table, [S, D]."""
    owner, item, label = against_others(chosen_SI, np.arange(scorer.inputs.sizes.num_items))
    label_N = torch.from_numpy(label).to(scorer.inputs.device)
    history = given_histories(scorer.inputs, chosen_SI, owner, item)

    def cost(stranger: nn.Module) -> Callable[[], Tensor]:
        score = _scores_of(stranger, scorer, history, item)
        return lambda: functional.binary_cross_entropy_with_logits(score(), label_N, reduction="sum")

    return descend_users(model, scorer, chosen_SI.shape[0], cost, known=known)


def descend_users(
    model: nn.Module,
    scorer: Scorer,
    count: int,
    cost: Callable[[nn.Module], Callable[[], Tensor]],
    *,
    known: np.ndarray | None = None,
) -> dict[str, Tensor]:
    """So many rows of each user table, [S, D], from the mean of the known on, by descent on a cost and the prior.

    Args:
        model: one that names its user tables; it is not changed.
        scorer: of that model.
        cost: from the model with these rows for its users to what they cost, without the prior, at every step anew.
        known: the users whose vectors say what to expect; None means all with training rows.
    """
    priors = _priors(model, scorer, np.flatnonzero(np.diff(scorer.train.by_user.indptr)) if known is None else known)
    rows = {name: mean.repeat(count, 1) for name, (mean, _) in priors.items()}
    stranger = with_users(model, rows, freeze=False)
    data_cost, tables = cost(stranger), {name: getattr(stranger, name).weight for name in rows}

    def loss() -> Tensor:
        return data_cost() + sum(against_prior(table, priors[name]) for name, table in tables.items())

    descend(list(tables.values()), loss)
    return {name: table.detach() for name, table in tables.items()}


def _priors(model: Any, scorer: Scorer, known: np.ndarray) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance, [1, D] each, of the known users' rows in each table; rows never trained on say nothing."""
    tables = {name: getattr(model, name).weight.detach() for name in model.user_tables}
    every = {name: len(known) == len(table) for name, table in tables.items()}
    return {name: prior_of(table if every[name] else table[_long(known, scorer.inputs)]) for name, table in tables.items()}


def with_users(model: nn.Module, rows: dict[str, Tensor], *, freeze: bool = True) -> nn.Module:
    """The model with other rows in its user tables, and everything else shared."""
    stranger = copy.copy(model)
    stranger._modules = dict(model._modules)
    for name, table in rows.items():
        stranger._modules[name] = nn.Embedding.from_pretrained(table, freeze=freeze)
    return stranger


def _scores_of(stranger: nn.Module, scorer: Scorer, history: History, item: np.ndarray) -> Any:
    """A function that scores each pair; what does not depend on the vectors is made once."""
    item_N = _long(item, scorer.inputs)
    made: dict[str, Any] = {"user": history.row, "item": item_N, "user_history": history}
    if isinstance(stranger, Separable):
        names = asked_by(stranger, "encode_user")
        code_NC = scorer.item_code[item_N].clone()
        return lambda: stranger.match(stranger.encode_user(**{name: made[name] for name in names}), code_NC)
    names = asked_by(stranger)
    if "item_history" in names:
        made["item_history"] = whole(scorer.inputs.item_lists, item_N)
    return lambda: stranger(**{name: made[name] for name in names})
