"""Strangers of a model of feature fields: what is said of them, and a row of their own fitted to what they have chosen.

Whoever has chosen nothing is the field's learned "unknown". Whoever has chosen something becomes one more user of the field,
whose row is fitted with all else frozen.

Shapes: S strangers, U users, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from scipy import sparse
from torch import Tensor

from attlas.data.encoding import in_context
from attlas.data.fields import Features, Fields
from attlas.data.inputs import Inputs
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError
from attlas.frozen import Pairs, against_others, blocks, fit_rows
from attlas.growth import grown_features, grown_model, rows_of_users
from attlas.scoring import PAIR_BYTES, Scorer


class Guests(NamedTuple):
    """Strangers who have become the users of a scorer.

    Attributes:
        scorer: whose users 0 to S - 1 they are.
        moment: S rows of the context's fields.
        unknown: the fields of which nothing is known.
    """

    scorer: Scorer
    moment: Fields
    unknown: tuple[str, ...]

    def score_all(self) -> np.ndarray:
        """The score of every item for each, float32[S, I]."""
        return self.scorer.score_all(np.arange(len(self.moment)), self.moment)


def check_said(scorer: Scorer, said: Mapping[str, Any] | None) -> None:
    """Refuse what is said of a stranger to a run that knows nothing of the kind.

    Raises:
        ConfigError: something is said, and the run has no feature fields.
    """
    if said is not None and scorer.inputs.given_features is None:
        raise ConfigError(
            "this run learned from interactions and knows no features of users; give a history alone, or fit labelled rows of "
            "feature fields with a model such as fm or afm"
        )


def receive(scorer: Scorer, chosen_SI: sparse.csr_array, said: Mapping[str, Any] | None = None) -> Guests:
    """Make strangers users.

    Args:
        scorer: of a model of fields; it is not changed.
        chosen_SI: what each has chosen, binary in sorted sparse rows: all of them something, or all nothing.
        said: what is known of all of them and of the moment, by the name of the field.

    Raises:
        ConfigError: no field of the user or of the context has that name.
        DataError: a number was expected.
    """
    train, features, count = scorer.train, scorer.inputs.features, chosen_SI.shape[0]
    model, own, known = scorer.model, features.places("user")[0], {}
    if chosen_SI.nnz:
        before, train = scorer.inputs.sizes, replace(train, users=_with_guests(train.users, count))
        features = grown_features(features, train.users, train.items)
        after = Inputs(train, features=None if scorer.inputs.given_features is None else features).sizes
        model = grown_model(model, before, after)
        known = rows_of_users(model, features, np.flatnonzero(np.diff(scorer.train.by_user.indptr)))
    fields, unknown = in_context(features, said or {}, count, roles=("user", "context"))
    if chosen_SI.nnz:
        fields.index[:, features.places("user", "context").index(own)] = torch.from_numpy(features.user_index[-count:, 0])
    mine, moment = (_of_role(features, fields, role) for role in ("user", "context"))
    value = None if mine.value is None else mine.value.numpy()
    described = replace(features, user_index=mine.index.numpy(), user_value=value, bags=fields.bags)
    host = Scorer(model, Inputs(train, device=scorer.inputs.device, features=described), budget=scorer.budget)
    if chosen_SI.nnz:
        _fit(host, chosen_SI, known)
    return Guests(host, moment.to(scorer.inputs.device), tuple(unknown))


def _of_role(features: Features, fields: Fields, role: Literal["user", "context"]) -> Fields:
    """Of rows of the user's and the context's fields those of one role."""
    asked = features.places("user", "context")
    places = [asked.index(place) for place in features.places(role)]
    return Fields(fields.index[:, places], None if fields.value is None else fields.value[:, places], fields.bags)


def _with_guests(known: Vocabulary, count: int) -> Vocabulary:
    """The known users and so many more, whose ids nobody will read."""
    if known.ids.dtype == pl.Int64:
        first = int(known.ids.max() or 0) + 1  # type: ignore[arg-type]
        fresh = pl.Series("id", range(first, first + count), dtype=pl.Int64)
    else:
        taken = max((len(id_) for id_ in known.ids.to_list()), default=0)
        fresh = pl.Series("id", [f"{'guest':<{taken + 1}}{place}" for place in range(count)], dtype=pl.String)
    return Vocabulary(pl.concat([known.ids.rename("id"), fresh]), noun=known.noun)


def _fit(host: Scorer, chosen_SI: sparse.csr_array, known: dict[str, Tensor]) -> None:
    """The guests' own rows, block by block."""
    every, user_S = np.arange(chosen_SI.shape[1]), np.arange(chosen_SI.shape[0])
    for block in blocks(chosen_SI, host.budget // PAIR_BYTES):
        owner, item, label = against_others(chosen_SI[block], every)
        fitted = rows_of_users(host.model, host.inputs.features, user_S[block])
        fit_rows(host.model, host.inputs, fitted, known, Pairs(user_S[block][owner], item, label))
