"""Whoever the model was not trained on, scored from what they have chosen.

A model that does without ``user`` reads the history as anybody's. One that folds in solves for the user rows; any other
that names its user tables gets user vectors fitted to the histories with everything else frozen. What is left, and who has
chosen nothing, gets what is popular. Whatever asks for strangers' scores comes here: answers, reasons and evaluation.

Shapes: S strangers, V users asked for, U users, I items, N items of histories and negatives drawn against them, D embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import FULL_TABLE_SHARE, History, Inputs, whole
from attlas.data.interactions import Interactions
from attlas.models.protocol import Folding, Separable, Welcoming, asked_by
from attlas.ops.ragged import Ragged
from attlas.scoring import PAIR_BYTES, Scorer

STEPS = 60
LEARNING_RATE = 0.1
NEGATIVES = 4
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
        user_R = torch.arange(len(row_R), device=scorer.inputs.device)
        made = {"user": user_R, "user_history": given_histories(scorer.inputs, chosen_RI)}
        with torch.inference_mode():
            score_SI[row_R] = host.score_catalogue(made).float().cpu().numpy()
    return score_SI


def welcome(scorer: Scorer, chosen_SI: sparse.csr_array) -> Scorer:
    """A scorer whose users 0 to S - 1 are the strangers; for a model that can make nothing of a history, the same scorer."""
    model, way = scorer.model, way_of(scorer.model)
    if way == FOLDED:
        assert isinstance(model, Folding)
        widths = [getattr(model, name).weight.shape[1] for name in model.user_tables]
        with torch.no_grad():
            parts = model.fold_in(given_histories(scorer.inputs, chosen_SI)).split(widths, dim=1)
        host = with_users(model, dict(zip(model.user_tables, parts, strict=True)))
    elif way == FITTED:
        host = fit_users(model, scorer, chosen_SI)
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


def fit_users(model: nn.Module, scorer: Scorer, chosen_SI: sparse.csr_array) -> nn.Module:
    """The same model with the strangers for its users, whose vectors explain the given histories best.

    The loss is the pointwise one on the history and random other items, plus a Gaussian prior with the mean and spread of
    the vectors of the users that were trained on. Equal histories give equal vectors: a stranger's depends on nobody else's,
    so that many are fitted in one descent.

    Args:
        model: one that names its user tables; it is not changed.
        scorer: of that model.
        chosen_SI: what each stranger has chosen, binary in sorted sparse rows, none of them empty.
    """
    assert isinstance(model, Welcoming)
    fitted = [_descend(model, scorer, chosen_SI[block]) for block in _blocks(chosen_SI, scorer.budget // PAIR_BYTES)]
    return with_users(model, {name: torch.cat([rows[name] for rows in fitted]) for name in model.user_tables})


def _blocks(chosen_SI: sparse.csr_array, pairs: int) -> Iterator[slice]:
    """Rows whose items and negatives together are no more than so many pairs; a row may be alone with more."""
    first = 0
    while first < chosen_SI.shape[0]:
        most = chosen_SI.indptr[first] + pairs // (1 + NEGATIVES)
        past = max(first + 1, int(np.searchsorted(chosen_SI.indptr, most, side="right")) - 1)
        yield slice(first, past)
        first = past


def _descend(model: nn.Module, scorer: Scorer, chosen_SI: sparse.csr_array) -> dict[str, Tensor]:
    """The fitted rows of each user table, [S, D]."""
    owner, item, label_N = _pairs(chosen_SI, scorer.inputs)
    history = given_histories(scorer.inputs, chosen_SI, owner, item)

    def cost(stranger: nn.Module) -> Callable[[], Tensor]:
        score = _scores_of(stranger, scorer, history, item)
        return lambda: functional.binary_cross_entropy_with_logits(score(), label_N, reduction="sum")

    return descend_users(model, scorer, chosen_SI.shape[0], cost)


def descend_users(
    model: nn.Module, scorer: Scorer, count: int, cost: Callable[[nn.Module], Callable[[], Tensor]]
) -> dict[str, Tensor]:
    """So many rows of each user table, [S, D], from the mean of the known on, by descent on a cost and the prior.

    Args:
        model: one that names its user tables; it is not changed.
        scorer: of that model.
        cost: from the model with these rows for its users to what they cost, without the prior, at every step anew.
    """
    priors = _priors(model, scorer)
    rows = {name: mean.repeat(count, 1) for name, (mean, _) in priors.items()}
    stranger = with_users(model, rows, freeze=False)
    data_cost = cost(stranger)
    tables = [getattr(stranger, name).weight for name in rows]
    optimizer = torch.optim.Adam(tables, lr=LEARNING_RATE)
    for _ in range(STEPS):
        loss = data_cost()
        for table, (mean, variance) in zip(tables, priors.values(), strict=True):
            loss = loss + 0.5 * ((table - mean).square() / variance).sum()
        for table, gradient in zip(tables, torch.autograd.grad(loss, tables), strict=True):
            table.grad = gradient
        optimizer.step()
    return {name: table.detach() for name, table in zip(rows, tables, strict=True)}


def _priors(model: Any, scorer: Scorer) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance, [1, D] each, of the trained users' rows in each table; rows never trained on say nothing."""
    trained = np.flatnonzero(np.diff(scorer.train.by_user.indptr))
    priors = {}
    for name in model.user_tables:
        known = getattr(model, name).weight.detach()
        known = known if len(trained) == len(known) else known[_long(trained, scorer.inputs)]
        mean = known.mean(0, keepdim=True)
        variance = known.var(0, keepdim=True) if len(known) > 1 else torch.ones_like(mean)
        priors[name] = mean, variance.clamp_min(1e-8)
    return priors


def negatives_for(chosen: np.ndarray, num_items: int) -> np.ndarray:
    """Items beside those chosen, drawn at random and equal for equal histories; none where all are chosen."""
    others = np.setdiff1d(np.arange(num_items), chosen)
    return np.random.default_rng(len(chosen)).choice(others, size=NEGATIVES * len(chosen)) if len(others) else others


def _pairs(chosen_SI: sparse.csr_array, inputs: Inputs) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Stranger, item and label of each pair: what was chosen and, drawn for each stranger alone, what was not."""
    items, label = [], []
    for chosen in np.split(chosen_SI.indices.astype(np.int64), chosen_SI.indptr[1:-1]):
        drawn = negatives_for(chosen, inputs.sizes.num_items)
        items.append(np.concatenate([chosen, drawn]))
        label.append(np.arange(len(items[-1])) < len(chosen))
    owner = np.repeat(np.arange(len(items)), [len(pairs) for pairs in items])
    label_N = torch.from_numpy(np.concatenate(label)).float().to(inputs.device)
    return owner, np.concatenate(items), label_N


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
