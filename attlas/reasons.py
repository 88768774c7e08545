"""The reasons behind one score, gathered from the model by what it can do and put into outside ids.

Shapes: T history entries, D latent dimensions, E shifts, U users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from attlas.counterfactual import KNOWN, UNKNOWN, Asker, as_host, leave_one_out, way_of_counterfactuals
from attlas.data.inputs import History
from attlas.data.vocabulary import Vocabulary, listed
from attlas.errors import ConfigError
from attlas.explanation import Explanation, Exposure
from attlas.guests import check_said
from attlas.models.protocol import InnerProduct, asked_by
from attlas.models.reasons import Explaining, Exposing, Factored, Noticing, reasons_of
from attlas.pairs import reasons_by_fields
from attlas.scoring import Scorer
from attlas.strangers import FITTED, FOLDED, POPULAR, given_histories, given_history, one_row, way_of, welcome

if TYPE_CHECKING:
    from attlas.recommender import Recommender

ROUNDING = 1e-3  # how far from 1 the float32 weights of a softmax may sum
ALIKE, RATINGS = 3, 20  # so many items stand for a dimension; so many ratings of all users are told
Made = dict[str, Any]


def explain_score(
    scorer: Scorer,
    item: int,
    asker: Asker,
    *,
    method: Literal["counterfactual"] | None = None,
    context: Mapping[str, Any] | None = None,
    top: int | None = None,
) -> Explanation:
    """Why one item, by index, has its score for somebody; the item itself is never among its own reasons.

    Arguments and errors are those of ``Recommender.explain``; ``top`` holds for each kind of reasons.
    """
    if method not in (None, "counterfactual"):
        raise ConfigError(f"method={method!r}; expected 'counterfactual', or None for what the model itself gives")
    model, items = scorer.model, scorer.train.items
    if method:
        way_of_counterfactuals(model)  # refuses a model without any
    facts: Made = {"item": items.ids_of([item])[0], "title": items.titles_of([item])[0], "way": asker.way}
    facts["history"] = _frame(items, np.zeros(0, np.int64), np.zeros(0), None)
    way = method or reasons_of(model)
    if asker.way == POPULAR:
        count = float(scorer.inputs.item_lists.length[item])
        return Explanation(**facts, method="popularity", score=count, explained=count)
    if way in ("features", "pairs", "deletion"):
        return Explanation(**facts | reasons_by_fields(scorer, item, asker, context, top), method=way)
    host = as_host(scorer, asker)
    made = inputs_of(host, item, asker, asker.user or 0)
    with torch.inference_mode():
        facts["score"] = facts["explained"] = _score(host, made)
        facts |= _beside(host, made, asker, item, top)
        if way == "windows":
            facts |= _by_windows(host, made, facts["score"], top)
        elif way == "factors":
            facts["rest"] = 0.0
    if way == "counterfactual":
        facts |= _by_counterfactuals(scorer, item, asker, facts["score"], top)
    elif way in ("attention", "contribution"):
        facts |= _by_weights(scorer, host, item, asker, made, top)
    return Explanation(**facts, method=way)


def asker_of(
    recommender: Recommender,
    user: str | int | None,
    history: Sequence[str | int] | None = None,
    features: Mapping[str, Any] | None = None,
) -> Asker:
    """A user by outside id, or a stranger by what they have chosen and what is said; without training rows one is a stranger.

    Raises:
        UnknownId: the user or an item is not known; where labelled rows were learned from, any user will do.
        ConfigError: neither or both of user and history are given; or features of a known user, or to a run without fields.
    """
    if (user is None) == (history is None):
        raise ConfigError("explain wants either a user or a stranger's history; give exactly one of them")
    if user is not None and features is not None:
        raise ConfigError("features are those of a stranger; of a user's moment speak by context")
    check_said(recommender.scorer, features)
    users, items, model = recommender.users, recommender.items, recommender.model
    if user is None:
        chosen = one_row(np.unique(items.index_of(listed(history))), len(items))
        return Asker(way_of(model) if chosen.nnz else POPULAR if features is None else UNKNOWN, chosen, said=features)
    is_labelled = recommender.inputs.given_features is not None
    index = int((users.find if is_labelled else users.index_of)([user])[0])
    if index < 0:
        return Asker(UNKNOWN, one_row(np.zeros(0, np.int64), len(items)))
    if is_labelled or recommender.everybody.is_trained[index]:
        way = KNOWN if not is_labelled or recommender.inputs.features.is_known(np.array([index]))[0] else UNKNOWN
        return Asker(way, recommender.inputs.train.counts_by_user[[index]], index)
    chosen = recommender.chosen.counts_by_user[[index]]
    return Asker(way_of(model) if chosen.nnz else POPULAR, chosen)


def inputs_of(scorer: Scorer, item: int, asker: Asker, user: int) -> Made:
    """The pair's inputs, its own target really taken out of its lists, so that weights are those of what is left.

    Args:
        user: the asker's index in the scorer.
    """
    inputs = scorer.inputs
    pair = {name: torch.tensor([index], device=inputs.device) for name, index in (("user", user), ("item", item))}
    theirs = inputs.train.by_item[[item]].indices.astype(np.int64)
    made: Made = {
        **pair,
        "user_history": given_histories(inputs, asker.without(item)),
        "item_history": given_history(inputs, theirs if asker.user is None else theirs[theirs != asker.user]),
    }
    if "observed" in scorer.names:
        made["observed"] = inputs.observed.hide(pair["user"], pair["item"])
    return made


@torch.inference_mode()
def _score(scorer: Scorer, made: Made) -> float:
    return float(scorer.model(**{name: made[name] for name in scorer.names})[0])


def _by_weights(scorer: Scorer, host: Scorer, item: int, asker: Asker, made: Made, top: int | None) -> Made:
    """What the model's ``attention`` gives; of one that solves for users, for the vector that solves for this very history."""
    is_attention, own = reasons_of(scorer.model) == "attention", _score(host, made)
    if is_solved := way_of(scorer.model) == FOLDED and not is_attention:
        host = welcome(scorer, asker.without(item))
        made = inputs_of(host, item, Asker(asker.way, asker.chosen), 0)
    model = host.model
    assert isinstance(model, Explaining)
    with torch.inference_mode():
        weights = model.attention(**{name: made[name] for name in asked_by(model, "attention")})
        explained = _score(host, made)
    mine = weights["user_history"]
    found: Made = {
        "history": _entries(scorer.train.items, made["user_history"], mine, top),
        "are_shares": is_attention and abs(float(mine.sum()) - 1.0) < ROUNDING,
        "explained": explained,
        "rest": None if is_attention else explained - float(mine.double().sum()),
    }
    if "item_history" in weights:
        audience = _entries(scorer.train.users, made["item_history"], weights["item_history"], top)
        found["audience"] = audience.drop("title")
    if is_solved and asker.user is not None:
        found["note"] = f"of the vector that solves for the history; the vector from training scores {own:.4g}"
    return found


def _by_counterfactuals(scorer: Scorer, item: int, asker: Asker, score: float, top: int | None) -> Made:
    found, way = leave_one_out(scorer, item, asker), way_of_counterfactuals(scorer.model)
    note = "the user's own vector stays as it is" if "user" in asked_by(scorer.model) else ""
    if way in (FOLDED, FITTED):
        note = "of the vector that solves for the history" if way == FOLDED else "of a vector fitted to the history"
        note += f"; the vector from training scores {score:.4g}" if asker.user is not None else ""
    history = _frame(scorer.train.items, found.items, found.fall, top)
    return {"history": history, "explained": found.score, "rest": None, "note": note}


def _by_windows(scorer: Scorer, made: Made, score: float, top: int | None) -> Made:
    """What each shift and each user's ratings add to a rating; of the user's own history by the latter way."""
    model, train = cast(Any, scorer.model), scorer.train
    asked = {name: made[name] for name in ("user", "item", "observed")}
    shift_E, user_U = (part[0].double().cpu().numpy() for part in (model.shifts(**asked), model.neighbours(**asked)))
    who = np.flatnonzero(user_U)
    neighbours = _frame(train.users, who, user_U[who], top, by_size=True).drop("title")
    shifts = pl.DataFrame({"shift": np.arange(len(shift_E)), "weight": shift_E})
    found: Made = {"shifts": shifts.sort(pl.col("weight").abs(), descending=True, maintain_order=True).head(top or len(shifts))}
    found |= {"neighbours": neighbours, "rest": score - float(shift_E.sum() + user_U.sum())}
    if not len(who):
        return found
    lists, weight_T = made["observed"].by_user, model.ratings(**asked).double().cpu().numpy()
    owner, index = lists.owner.cpu().numpy(), lists.index.cpu().numpy()
    own = np.flatnonzero((owner == int(made["user"])) & (index != int(made["item"])))
    order = np.argsort(-np.abs(weight_T), kind="stable")[: top or RATINGS]
    ratings = pl.DataFrame(
        {
            "user": train.users.ids.gather(owner[order]),
            "item": train.items.ids.gather(index[order]),
            "title": pl.Series(train.items.titles_of(index[order]), dtype=pl.String),
            "rating": made["observed"].user_value.cpu().numpy()[order].astype(float),
            "weight": weight_T[order],
        }
    )
    return found | {"history": _frame(train.items, index[own], weight_T[own], top), "ratings": ratings}


def _beside(scorer: Scorer, made: Made, asker: Asker, item: int, top: int | None) -> Made:
    """What goes with any reasons: whether the item was come across, and what each latent dimension adds."""
    model, user, target = scorer.model, made["user"], made["item"]
    found: Made = {"factors": _factors(scorer, made, top)}
    is_chosen = item in asker.chosen.indices
    if isinstance(model, Exposing):
        share_C, exposure_C = model.communities(user)[0].cpu().numpy(), model.exposure(target)[0].cpu().numpy()
        order = np.argsort(-share_C, kind="stable")
        told = {"community": order, "membership": share_C[order].astype(float), "exposure": exposure_C[order].astype(float)}
        chance = 1.0 if is_chosen else float(share_C @ exposure_C)
        found["exposure"] = Exposure(chance, float(model.preference(user, target)[0]), pl.DataFrame(told))
    elif isinstance(model, Noticing):
        chance = 1.0 if is_chosen else float(model.exposure(user, target)[0])
        schema = {"community": pl.Int64, "membership": pl.Float64, "exposure": pl.Float64}
        found["exposure"] = Exposure(chance, float(model.preference(user, target)[0]), pl.DataFrame(schema=schema))
    return found


def _factors(scorer: Scorer, made: Made, top: int | None) -> pl.DataFrame | None:
    """What each dimension and each other term adds; None of a model whose score is no such sum over one user's vector."""
    history = made["user_history"]
    chosen = history.distinct[history.index]
    found = _added(scorer.model, made["user"], made["item"])
    if found is None:
        return None
    mine = _added(scorer.model, made["user"].expand(len(chosen)), chosen)
    assert mine is not None
    like_KD = mine[0].argsort(dim=0, descending=True, stable=True)[:ALIKE].cpu().numpy()
    titles = np.array(scorer.train.items.titles_of(chosen.cpu().numpy()), dtype=object)
    like = [", ".join(titles[like_KD[:, dim]]) for dim in range(found[0].shape[1])]
    names = [*(f"dimension {dim}" for dim in range(found[0].shape[1])), *found[1]]
    weights = [*found[0][0].tolist(), *(float(term[0]) for term in found[1].values())]
    frame = pl.DataFrame({"factor": names, "like": like + [""] * len(found[1]), "weight": weights})
    return frame.sort(pl.col("weight").abs(), descending=True, maintain_order=True).head(len(frame) if top is None else top)


def _added(model: Any, user: Tensor, item: Tensor) -> tuple[Tensor, dict[str, Tensor]] | None:
    if isinstance(model, Factored):
        return model.by_factor(user, item)
    if isinstance(model, InnerProduct) and asked_by(type(model), "encode_user") == ("user",):
        return model.encode_user(user=user) * model.encode_item(item=item), {}
    return None


def _entries(known: Vocabulary, history: History, weight_T: Tensor, top: int | None) -> pl.DataFrame:
    index = history.distinct[history.index].cpu().numpy()
    return _frame(known, index, weight_T.double().cpu().numpy(), top)


def _frame(known: Vocabulary, index: np.ndarray, weight: np.ndarray, top: int | None, *, by_size: bool = False) -> pl.DataFrame:
    """Ids, titles and weights, the heaviest first; ``by_size`` is up or down."""
    order = np.argsort(-np.abs(weight) if by_size else -weight, kind="stable")[:top]
    return pl.DataFrame(
        {
            known.noun: known.ids.gather(index[order]),
            "title": pl.Series(known.titles_of(index[order]), dtype=pl.String),
            "weight": pl.Series(weight[order], dtype=pl.Float64),
        }
    )
