"""Do explanations agree with what happens when their reasons are taken away?

For a sample of users and their best items every entry of the history is really taken out and the model asked again; how far
the score falls is what that entry was worth. Against it stands the order by the model's own weights, and beside that the order
by popularity and a random one. Curves take entries out from the first of an order on (deletion), or put them into an empty
history (insertion); falls and rises are in standard deviations of the user's scores over the catalogue.

Shapes: V users, T history entries, S histories, Q + 1 points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from attlas.counterfactual import Asker, leave_one_out, score_with, way_of_counterfactuals
from attlas.data.vocabulary import listed
from attlas.errors import ConfigError
from attlas.evaluation.report import Mean, bootstrap_mean
from attlas.evaluation.significance import compare_pairs
from attlas.models.reasons import reasons_of
from attlas.reasons import asker_of, explain_score
from attlas.recommender import Recommender
from attlas.telling import Teller

OWN, EXACT, POPULARITY, RANDOM = "own", "exact", "popularity", "random"
ORDERS, KINDS = (OWN, EXACT, POPULARITY, RANDOM), ("deletion", "insertion")
STEPS = 10  # of a curve
LEAST = 3  # entries of a history; fewer have hardly an order
STRONG = 0.5  # rank correlations below it are called weak
DECIMALS = 6  # of falls and weights by the largest of them; what is behind is rounding of float32
WARNING = 'explain(method="counterfactual"), or --method counterfactual, is exact'


@dataclass(frozen=True, eq=False)
class FaithfulnessReport:
    """How far the weights of one model's explanations are what they seem.

    Attributes:
        model: its name.
        method: what the weights are, of ``Explanation.method``; where the model itself weighs no entry of a history, its
            ``counterfactual``, whose agreement is 1 by definition.
        users: the ids of those measured.
        num_flat: how many more were drawn and had nothing to order: no entry changed their score more than another.
        seed: of the sample and of random order.
        agreement: by the order, ``own``, ``popularity`` or ``random``, Spearman's rank correlation with the falls that each
            entry alone makes, float64[V] in -1..1; of weights that are all equal 0.
        deletion: by the order, also ``exact``, that of the falls themselves: the mean fall on the way from the whole to no
            history, in standard deviations, float64[V]; the more, the better the order.
        insertion: likewise the mean rise on the way from no history to the whole.
        curves: the mean over users of both, by kind and order, each with Q + 1 points from nothing to all.
    """

    model: str
    method: str
    users: list[str | int]
    num_flat: int
    seed: int
    agreement: Mapping[str, np.ndarray]
    deletion: Mapping[str, np.ndarray]
    insertion: Mapping[str, np.ndarray]
    curves: Mapping[str, Mapping[str, list[float]]]

    @cached_property
    def means(self) -> dict[str, dict[str, Mean]]:
        """The mean over users of each figure and order, with its 95 % interval."""
        figures = {"agreement": self.agreement, "deletion": self.deletion, "insertion": self.insertion}
        return {
            name: {order: Mean(float(values.mean()), *bootstrap_mean(values)) for order, values in figure.items()}
            for name, figure in figures.items()
        }

    @cached_property
    def agrees(self) -> bool:
        """Whether the weights order entries better than popularity and than chance: both paired intervals lie above 0."""
        if self.method == "counterfactual":
            return True
        others = [{OWN: self.agreement[OWN][None], order: self.agreement[order][None]} for order in (POPULARITY, RANDOM)]
        pairs = [compare_pairs(values, "agreement")[0] for values in others]
        return all(pair.above == OWN and pair.low > 0 for pair in pairs)

    def sentence(self) -> str:
        """The verdict, with the figure of the weights and of both yardsticks."""
        means = self.means["agreement"]
        beside = f"random {means[RANDOM].value:.2f}; popularity {means[POPULARITY].value:.2f}"
        if self.method == "counterfactual":
            return (
                f"{self.model} weighs items by taking them out, which is what is measured: Spearman 1 by definition; {beside}"
            )
        own = means[OWN]
        figure = f"Spearman {own.value:.2f} ± {(own.high - own.low) / 2:.2f}; {beside}"
        if not self.agrees:
            said = f"{self.model}: {self.method} does NOT agree with what removing an item does"
            return f"{said} better than popularity and chance, by {len(self.users):,} users: {figure}; {WARNING}"
        if own.value < STRONG:
            return f"{self.model}: {self.method} agrees only weakly with what removing an item does: {figure}; {WARNING}"
        return f"{self.model}: {self.method} agrees with what removing an item does: {figure}"

    def row(self) -> dict[str, Any]:
        """One line of a table: Spearman with its interval, and the areas of both curves by order."""
        own, figures = self.means["agreement"][OWN], {"deletion": self.deletion, "insertion": self.insertion}
        beside = {order: self.means["agreement"][order].value for order in (POPULARITY, RANDOM)}
        areas = {name: " / ".join(f"{figure[order].mean():.2f}" for order in ORDERS) for name, figure in figures.items()}
        said = {"model": self.model, "weights": self.method, "users": len(self.users), "spearman": own.value}
        return said | {"95 % interval": f"{own.low:.4f} to {own.high:.4f}"} | beside | areas

    def to_dict(self) -> dict[str, Any]:
        """Everything but the values of single users, ready for JSON."""
        return {
            **{name: getattr(self, name) for name in ("model", "method", "num_flat", "seed", "agrees")},
            "users": len(self.users),
            "sentence": self.sentence(),
            **{name: {order: mean._asdict() for order, mean in figure.items()} for name, figure in self.means.items()},
            "curves": {kind: dict(curves) for kind, curves in self.curves.items()},
        }

    def figure(self, kind: str = "deletion") -> dict[str, Any]:
        """A figure of plotly, as plain data: the mean curve of each order, ``deletion`` or ``insertion``."""
        shares = np.linspace(0, 1, STEPS + 1).tolist()
        data = [{"type": "scatter", "x": shares, "y": line, "name": order} for order, line in self.curves[kind].items()]
        what = "taken out, the heaviest first" if kind == "deletion" else "put in, the heaviest first"
        axes = {"xaxis": {"title": {"text": f"share of the history {what}"}, "tickformat": ".0%"}}
        axes["yaxis"] = {"title": {"text": f"{'fall' if kind == 'deletion' else 'rise'} of the score, standard deviations"}}
        return {"data": data, "layout": {"title": {"text": f"{self.model}: {kind}"}, **axes}}


def faithfulness(
    recommender: Recommender,
    *,
    users: int | Sequence[str | int] = 200,
    items: int = 1,
    seed: int = 1,
    tell: Teller | None = None,
) -> FaithfulnessReport:
    """Measure how far a model's weights of history entries are what the entries are worth.

    Args:
        users: how many of those with at least three rows of training are drawn; or ids, of which others are left out.
        items: how many of each one's best recommendations are explained; a user's figures are their mean.
        seed: of the draw and of random order; the same seed gives the same figures.
        tell: for a bar.

    Raises:
        ConfigError: fewer than one user, a model that scores from no history, nobody has a history long enough, or nobody's
            entries change a score.
        UnknownId: a user is not known.
    """
    way_of_counterfactuals(recommender.model)
    index = _sample(recommender, users, seed)
    found: dict[int, dict[str, Any]] = {}
    with (tell or Teller()).bar("faithfulness", len(index)) as bar:
        for done, user in enumerate(index, start=1):
            measured = [each for item in _best(recommender, user, items) if (each := _of_pair(recommender, user, item, seed))]
            if measured:
                found[int(user)] = _averaged(measured)
            bar.update(done)
    if not found:
        raise ConfigError("no entry of any history drawn changes a score more than another; there is nothing to agree with")
    return _reported(recommender, found, len(index) - len(found), seed)


def _reported(recommender: Recommender, found: dict[int, dict[str, Any]], num_flat: int, seed: int) -> FaithfulnessReport:
    values = list(found.values())
    every = {kind: {order: np.stack([each[kind][order] for each in values]) for order in ORDERS} for kind in KINDS}
    areas = [{order: _areas(line_VQ) for order, line_VQ in lines.items()} for lines in every.values()]
    return FaithfulnessReport(
        recommender.card["model"]["name"],
        values[0]["method"],
        recommender.users.ids_of(list(found)),
        num_flat,
        seed,
        {order: np.array([each["agreement"][order] for each in values]) for order in (OWN, POPULARITY, RANDOM)},
        areas[0],
        areas[1],
        {kind: {order: line_VQ.mean(0).tolist() for order, line_VQ in lines.items()} for kind, lines in every.items()},
    )


def _sample(recommender: Recommender, users: int | Sequence[str | int], seed: int) -> np.ndarray:
    length_U = np.diff(recommender.inputs.train.by_user.indptr)
    if isinstance(users, int):
        if users < 1:
            raise ConfigError(f"users={users}: expected how many to draw, at least one, or their ids")
        able = np.flatnonzero(length_U >= LEAST)
        able = np.sort(np.random.default_rng(seed).permutation(able)[:users])
    else:
        able = np.array([*dict.fromkeys(recommender.users.index_of(listed(users)).tolist())], np.int64)
        able = able[length_U[able] >= LEAST]
    if not len(able):
        raise ConfigError(f"nobody asked for has {LEAST} rows of training or more; ask for other users")
    return able


def _best(recommender: Recommender, user: int, count: int) -> np.ndarray:
    frame = recommender.recommend(recommender.users.ids_of([user]), count)
    return recommender.items.index_of(frame["item"].to_list())


def _of_pair(recommender: Recommender, user: int, item: int, seed: int) -> dict[str, Any] | None:
    """Agreement and curves of one recommended item; None where no entry counts more than another."""
    scorer, asker = recommender.scorer, asker_of(recommender, recommender.users.ids_of([user])[0])
    exact = leave_one_out(scorer, item, asker)
    fall_T = _rounded(exact.fall, abs(exact.score))
    if np.ptp(fall_T) == 0:
        return None
    method, weight_T = _weights(recommender, item, asker, exact.items, fall_T)
    popularity = recommender.popularity[exact.items].astype(float)
    random = np.random.default_rng([seed, user]).permutation(len(fall_T)).astype(float)
    by_order = {OWN: weight_T, EXACT: fall_T, POPULARITY: popularity, RANDOM: random}
    spread = float(scorer.score_all(np.array([user])).std()) or 1.0
    curves = _curves(recommender, item, asker, [by_order[order] for order in ORDERS], spread)
    agreement = {order: _spearman(by_order[order], fall_T) for order in (OWN, POPULARITY, RANDOM)}
    return {"method": method, "agreement": agreement, **curves}


def _weights(
    recommender: Recommender, item: int, asker: Asker, items: np.ndarray, fall_T: np.ndarray
) -> tuple[str, np.ndarray]:
    """What the model's own explanation weighs each entry with; where it weighs none, the falls themselves."""
    if reasons_of(recommender.model) != "counterfactual":
        found = explain_score(recommender.scorer, item, asker)
        if len(found.history):
            given = recommender.items.index_of(found.history["item"].to_list())
            weight_T = found.history["weight"].to_numpy()[np.argsort(given, kind="stable")]
            return found.method, _rounded(weight_T, 0.0)
    return "counterfactual", fall_T


def _curves(
    recommender: Recommender, item: int, asker: Asker, weights: list[np.ndarray], spread: float
) -> dict[str, dict[str, np.ndarray]]:
    count = len(weights[0])
    length_Q = np.round(np.linspace(0, 1, STEPS + 1) * count).astype(int)
    place = [np.argsort(np.argsort(-weight_T, kind="stable"), kind="stable") for weight_T in weights]  # from 0, the heaviest
    first = [place_T < length_Q[:, None] for place_T in place]  # [Q + 1, T] each: the first so many of each order
    every = np.concatenate([*first, *(~kept for kept in first)])
    kept_ST, row = np.unique(every, axis=0, return_inverse=True)
    score = score_with(recommender.scorer, item, asker, kept_ST)[row.ravel()].reshape(2, len(ORDERS), -1) / spread
    put_in, taken_out = score
    return {
        "deletion": {order: line[0] - line for order, line in zip(ORDERS, taken_out, strict=True)},
        "insertion": {order: line - line[0] for order, line in zip(ORDERS, put_in, strict=True)},
    }


def _averaged(measured: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("agreement", *KINDS)
    mean = {
        name: {order: np.mean([each[name][order] for each in measured], 0) for order in measured[0][name]} for name in names
    }
    return {"method": measured[0]["method"], **mean}


def _areas(line_VQ: np.ndarray) -> np.ndarray:
    """The mean height of each curve, by trapezes, [V]."""
    found: np.ndarray = (line_VQ[:, 1:] + line_VQ[:, :-1]).mean(1) / 2
    return found


def _rounded(value_T: np.ndarray, least: float) -> np.ndarray:
    scale = max(float(np.abs(value_T).max(initial=0.0)), least) or 1.0
    return np.round(value_T / scale, DECIMALS) * scale


def _spearman(one_T: np.ndarray, other_T: np.ndarray) -> float:
    return 0.0 if np.ptp(one_T) == 0 else float(spearmanr(one_T, other_T).statistic)
