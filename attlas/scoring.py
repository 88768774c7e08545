"""A trained model as a plain function of (user, item) pairs, memory-planned.

Shapes: B pairs, V users asked for, I items, C code, T history entries.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attlas.awaiting import go_on
from attlas.data.examples import ExampleInputs, Examples
from attlas.data.inputs import Fields, Inputs, whole
from attlas.data.interactions import Interactions
from attlas.models.protocol import Preparing, Ranking, Separable, Tabulating, asked_by, task_of

DEFAULT_BUDGET = 512 * 2**20
PAIR_BYTES = 4 * 4 * 1024  # what a pair and the parts it is scored from may take
CODE_FLOATS = 2048  # what a user's code and the parts it is made of may take
BLOCK_FLOATS = 2**21  # pairs times code in one block of a catalogue: 8 MB; with more, models that build it slow down


class Scorer:
    """Scores pairs and whole catalogues with one trained model.

    Args:
        model: in its final state; it is not moved or changed.
        inputs: what the model's inputs are gathered from; on the model's device.
        budget: bytes that one call may build at a time, beside the model and the result.
        like: a scorer whose item codes hold for this model too.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, *, budget: int = DEFAULT_BUDGET, like: Scorer | None = None):
        self.model, self.inputs = model, inputs
        self.budget: int = like.budget if like else budget
        self.names = asked_by(model)
        # Asked once: for one user's answer, looking for the methods of a protocol takes a tenth of the time.
        self.is_ranking, self.is_separable = isinstance(model, Ranking), isinstance(model, Separable)
        self.is_preparing = isinstance(model, Preparing)
        self._able: Any = model
        self._like = like
        self._table: Any = None
        self._user_code: Tensor | None = None

    @torch.inference_mode()
    def prepare(self) -> None:
        """Make now what serves every asker, so that single ones wait for nothing; what would not fit the budget is left out.

        That is the code of every item, what a model makes ready of it, the table of a model that is ``Tabulating`` and, where
        the whole matrix is read to encode a user, the code of every user.
        """
        sizes = self.inputs.sizes
        if isinstance(self.model, Tabulating) and 4 * 2 * sizes.num_items**2 <= self.budget:
            self._table = self.model.tabulate()
        if self.is_ranking or not self.is_separable:
            return
        if self.is_preparing:
            _ = self._ready
        width, names = self.item_code.shape[1], asked_by(self.model, "encode_user")
        if set(names) == {"user", "observed"} and 4 * sizes.num_users * width <= self.budget:
            user_U = torch.arange(sizes.num_users, device=self.inputs.device)
            self._user_code = self._able.encode_user(**{"user": user_U} | self._matrix)

    @property
    def train(self) -> Interactions:
        """What the model's histories are made of."""
        return self.inputs.train

    @property
    def users_at_once(self) -> int:
        """How many users' rows fit the budget: each score is held about three times on its way, beside the user's code."""
        return max(1, self.budget // (4 * (3 * self.inputs.sizes.num_items + CODE_FLOATS)))

    @torch.inference_mode()
    def score(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """The score of each pair, float32[B]; a pair that is in the training data is scored without itself."""
        if self.is_separable or not self.is_ranking:
            return self._score_pairs(user, item)
        score_B = np.empty(len(user), np.float32)
        users, row_B = np.unique(user, return_inverse=True)
        for first in range(0, len(users), self.users_at_once):
            is_here_B = (row_B >= first) & (row_B < first + self.users_at_once)
            block_VI = self.score_all(users[first : first + self.users_at_once])
            score_B[is_here_B] = block_VI[row_B[is_here_B] - first, item[is_here_B]]
        is_own_B = self._is_own(user, item)
        score_B[is_own_B] = self._score_pairs(user[is_own_B], item[is_own_B])
        return score_B

    def _is_own(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        device = self.inputs.device
        user_B, item_B = torch.as_tensor(user, device=device), torch.as_tensor(item, device=device)
        return (self.inputs.user_lists.find(user_B, item_B) >= 0).cpu().numpy()

    def _score_pairs(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        pairs = max(1, self.budget // PAIR_BYTES)
        parts = [
            self.model(**self.inputs.gather(self.names, user[first : first + pairs], item[first : first + pairs]))
            for first in range(0, len(user), pairs)
        ]
        return torch.cat(parts).float().cpu().numpy() if parts else np.zeros(0, np.float32)

    @torch.inference_mode()
    def score_rows(self, data: Interactions | Examples) -> np.ndarray:
        """The score of each row of the same users and items, float32[N].

        Where the model's task is to rate, a rating: none is beyond the lowest or the highest of training.
        """
        if isinstance(data, Interactions):
            score_N, known = self.score(data.user, data.item), self.train.rating
            return score_N if known is None or task_of(self.model) != "rating" else score_N.clip(known.min(), known.max())
        inputs, step = ExampleInputs(data, device=self.inputs.device), max(1, self.budget // PAIR_BYTES)
        parts = [self.model(fields=inputs.rows(slice(first, first + step))[0]) for first in range(0, len(data), step)]
        return torch.cat(parts).float().cpu().numpy() if parts else np.zeros(0, np.float32)

    @torch.inference_mode()
    def score_all(self, user: np.ndarray, context: Fields | None = None) -> np.ndarray:
        """The score of every item for each user, float32[V, I].

        For an item in the user's own history this is the score with that item left in.

        Args:
            user: int64[V]; for models of fields -1 is an unknown user.
            context: of models of fields, V rows of the context's fields; None where nothing is known of the moment.
        """
        user_V = torch.as_tensor(user, device=self.inputs.device)
        if self._user_code is not None:
            return self._match_all(self._user_code[user_V]).float().cpu().numpy()
        made: dict[str, Any] = {"user": user_V} | self._matrix
        if "fields" in self.names:
            made["fields"] = self.inputs.crossed(user_V, context)
        else:
            made["user_history"] = whole(self.inputs.user_lists, user_V)
        return self.score_catalogue(made).float().cpu().numpy()

    def score_catalogue(self, made: dict[str, Any]) -> Tensor:
        """The score of every item, [V, I], for users given by ``user`` and ``user_history``, or by ``fields``."""
        if self._table is not None:
            return self._able.score_from(self._table, made["user_history"])
        if self.is_ranking:
            return self._able.score_catalogue(**{name: made[name] for name in asked_by(self.model, "score_catalogue")})
        if not self.is_separable:
            return self._score_pair_by_pair(made)
        code_VC = self._able.encode_user(**{name: made[name] for name in asked_by(self.model, "encode_user")})
        return self._match_all(code_VC)

    def _score_pair_by_pair(self, made: dict[str, Any]) -> Tensor:
        """The slow way, for a model that neither ranks nor separates."""
        user_V, history = made["user"], made["user_history"]
        item_I = torch.arange(self.inputs.sizes.num_items, device=self.inputs.device)
        score_VI = torch.empty(len(user_V), len(item_I), device=item_I.device)
        for v in range(len(user_V)):
            for item_B in item_I.split(max(1, self.budget // PAIR_BYTES)):
                go_on()
                pairs = torch.full_like(item_B, v)
                inputs = {"user": user_V[pairs], "item": item_B, "user_history": history.of_pairs(pairs)}
                if "item_history" in self.names:
                    inputs["item_history"] = whole(self.inputs.item_lists, item_B)
                inputs |= self._matrix
                score_VI[v, item_B] = self.model(**{name: inputs[name] for name in self.names}).float()
        return score_VI

    @property
    def _matrix(self) -> dict[str, Any]:
        """The whole training matrix with nothing hidden, for a model that asks for it."""
        return {"observed": self.inputs.observed} if "observed" in self.names else {}

    @cached_property
    def item_code(self) -> Tensor:
        """Every item encoded once, [I, C]."""
        if self._like:
            return self._like.item_code
        with torch.inference_mode():
            item_I = torch.arange(self.inputs.sizes.num_items, device=self.inputs.device)
            made: dict[str, Any] = {"item": item_I} | self._matrix
            names = asked_by(self.model, "encode_item")
            if "item_history" in names:
                made["item_history"] = whole(self.inputs.item_lists, item_I)
            return self._able.encode_item(**{name: made[name] for name in names})

    @cached_property
    def _ready(self) -> Tensor:
        """What a model makes ready of its catalogue, once."""
        if self._like:
            return self._like._ready
        with torch.inference_mode():
            return self._able.make_ready(self.item_code)

    def _match_all(self, user_code_VC: Tensor) -> Tensor:
        item_code_IC = self.item_code
        score_VI = torch.empty(len(user_code_VC), len(item_code_IC), device=user_code_VC.device)
        step = max(1, BLOCK_FLOATS // user_code_VC.shape[1])
        items = min(len(item_code_IC), step)
        users = max(1, step // items)
        for first in range(0, len(user_code_VC), users):
            code_vC = user_code_VC[first : first + users]
            for low in range(0, len(item_code_IC), items):
                go_on()
                here = slice(low, low + items)
                score_VI[first : first + users, here] = (
                    self._able.match_ready(code_vC, item_code_IC[here], self._ready[here])
                    if self.is_preparing
                    else self._able.match(code_vC[:, None], item_code_IC[None, here])
                )
        return score_VI
