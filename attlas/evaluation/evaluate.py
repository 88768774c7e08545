"""Scorer and protocol -> Report.

Shapes: U rankings, V users that have one, G metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from attlas.data.split import Split
from attlas.errors import ConfigError, DataError, nearest
from attlas.evaluation.beyond import of_each_list, over_all_lists
from attlas.evaluation.codes import rows_of
from attlas.evaluation.metrics import AT_K, BY_ROW, WITHOUT_K, Ranks
from attlas.evaluation.naming import ALL_AT_K
from attlas.evaluation.protocols import Part, Ranking, Scorer, Watch, find_protocol, rank_held_out, refuse_nan
from attlas.evaluation.report import CORRECTED, Report, RowReport
from attlas.evaluation.sampled import corrected, gain_of


class RowScorer(Protocol):
    """A trained model as a function of whole rows."""

    def score_rows(self, data: Any) -> np.ndarray:
        """One rating or logit per row, float32[N]."""


def evaluate(
    scorer: Scorer,
    split: Split,
    protocol: str = "full",
    *,
    k: int | Sequence[int] = (10,),
    part: Part = "test",
    metrics: Sequence[str] | None = None,
    beyond: bool = False,
    watch: Watch | None = None,
) -> Report:
    """How well a scorer ranks the items that were held out; users held out whole are strangers, known by their given rows.

    Args:
        protocol: the code of one of PROTOCOLS.
        k: the cut-offs, each at least 1.
        metrics: names without their k, such as ``ndcg``; if None, all but those in expectation over samples.
        beyond: under ``full``, also what each user's best items are like: novelty, popularity, diversity, coverage, gini.
        watch: told the users done and the users in all after each block.

    Raises:
        ConfigError: a name or number that does not exist or fit, candidates that the protocol needs and the split lacks, or
            lists asked of a protocol that makes none.
        DataError: nothing is left to rank.
        AttlasError: a score is nan.
    """
    cuts, how = tuple(np.atleast_1d(k).tolist()), find_protocol(protocol)
    names = _checked_names(metrics, cuts)
    if beyond and how.against == "candidates":
        raise ConfigError(f"protocol {protocol!r} ranks given candidates and makes no lists to describe; use protocol 'full'")
    ranking = rank_held_out(scorer, split, how, part=part, list_length=max(cuts) if beyond else 0, watch=watch)
    report = _report(ranking, names, cuts, protocol=protocol, split=split, part=part)
    if ranking.listed is None:
        return report
    of_each = of_each_list(ranking.listed, split.train, cuts)
    overall = over_all_lists(ranking.listed, len(split.train.items), cuts)
    return replace(report, per_user=report.per_user | of_each, overall=overall)


def evaluate_rows(scorer: RowScorer, data: Any, task: str, *, by_user: bool = False) -> RowReport:
    """How well a scorer predicts the rating or the label of each row.

    Args:
        data: rows with a ``rating``, such as Interactions, or with a ``label``, such as Examples.
        task: ``rating`` if scores are ratings, ``label`` if they are logits of a label that is 0 or 1, ``target`` if they are
            predictions of -1 for that label 0 and of +1 for 1.
        by_user: whether the report also knows what each user's rows add, for intervals and tests; the rows say whose they are.

    Raises:
        ConfigError: there is no such task, or the rows do not carry what it needs.
        DataError: there are no rows.
        AttlasError: a score is nan.
    """
    if task not in BY_ROW:
        raise ConfigError(f"there is no task {task!r}; {nearest(task, BY_ROW)}")
    truth = getattr(data, noun := "rating" if task == "rating" else "label", None)
    if truth is None:
        raise ConfigError(f"these rows have no {noun}; evaluate them as a ranking or read them with a column for it")
    if not len(truth):
        raise DataError("there are no rows to predict; check how the data were split")
    score = scorer.score_rows(data)
    refuse_nan(score)
    return RowReport.of(task, truth, score, data.user if by_user else None)


def _checked_names(metrics: Sequence[str] | None, cuts: tuple[int, ...]) -> list[str]:
    for name in metrics or ():
        if name not in (known := [*ALL_AT_K, *WITHOUT_K]):
            raise ConfigError(f"there is no metric {name!r}; {nearest(name, known)}")
    if not cuts or not all(isinstance(cut, int) and cut >= 1 for cut in cuts):
        raise ConfigError(f"k is {', '.join(map(str, cuts)) or 'empty'}; expected whole numbers of at least 1")
    return [*AT_K, *WITHOUT_K] if metrics is None else list(metrics)


def _report(
    ranking: Ranking, names: Sequence[str], cuts: tuple[int, ...], *, protocol: str, split: Split, part: Part
) -> Report:
    ranks, (users, owner_U) = ranking.ranks, np.unique(ranking.user, return_inverse=True)
    is_sampled = find_protocol(protocol).against == "candidates"
    values = _measured(ranks, names, cuts)
    if is_sampled and len(users) == len(ranking.user):
        values |= _corrected(ranking, names, cuts)
    return Report(
        protocol=protocol,
        split=split.code,
        part=part,
        k=cuts,
        users=users,
        per_user={key: _per_user(value, owner_U) for key, value in values.items()},
        num_users_without_test=len(split.train.users) - len(users),
        num_masked=ranking.num_masked,
        tie_share=float(np.mean(ranks.tied > 1)),
        ways=ranking.ways,
        num_candidates=(int(ranks.num_candidates.min()), int(ranks.num_candidates.max())),
        odd_candidates=ranking.odd_candidates,
        rows=rows_of(split, candidates=is_sampled),
    )


def _measured(ranks: Ranks, names: Sequence[str], cuts: tuple[int, ...]) -> dict[str, np.ndarray]:
    at_k = {f"{name}@{cut}": ALL_AT_K[name](ranks, cut) for cut in cuts for name in names if name in ALL_AT_K}
    return at_k | {name: WITHOUT_K[name](ranks) for name in names if name in WITHOUT_K}


def _corrected(ranking: Ranking, names: Sequence[str], cuts: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Estimates of the full metrics; each ranking has one relevant item, and each user one ranking."""
    ranks, keys = ranking.ranks, [(name, cut) for cut in cuts for name in names if name in AT_K]
    if not keys:
        return {}
    gain_kG = np.stack([gain_of(AT_K[name], cut, max(cuts)) for name, cut in keys], axis=1)
    samples_U = ranks.num_candidates - 1
    drawn_from_U = np.maximum(ranking.num_unseen, samples_U + 1)
    value_UG = corrected(gain_kG, ranks.ahead, ranks.tied, samples_U, drawn_from_U)
    return {f"{name}@{cut}{CORRECTED}": value_UG[:, column] for column, (name, cut) in enumerate(keys)}


def _per_user(value_U: np.ndarray, owner_U: np.ndarray) -> np.ndarray:
    """The mean over each user's rankings, float64[V]."""
    return np.bincount(owner_U, weights=value_U) / np.bincount(owner_U)
