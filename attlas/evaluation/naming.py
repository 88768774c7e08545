"""Metrics by name: the codes in which they are asked for, and how people write them; and counts with their nouns."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from attlas.errors import ConfigError, nearest
from attlas.evaluation.metrics import AT_K, BY_ROW, WITHOUT_K, Ranks
from attlas.evaluation.sampled import EXPECTED

LEADING = {  # what early stopping watches where nobody says
    "ranking": "ndcg@10",
    "rating": "rmse",
    "label": "logloss",
    "target": "rmse",
}
ALL_AT_K: dict[str, Callable[[Ranks, int], np.ndarray]] = {**AT_K, **EXPECTED}


def find_metric(code: str, task: str) -> tuple[str, int | None]:
    """The name and the cut-off of a metric such as ``ndcg@10``, one that fits the task: ranking, rating, label or target.

    Raises:
        ConfigError: there is no such metric, or its cut-off is missing or too much.
    """
    name, _, cut = code.partition("@")
    at_k, without = (ALL_AT_K, WITHOUT_K) if task == "ranking" else ({}, BY_ROW[task])
    if name not in (*at_k, *without):
        raise ConfigError(f"metric = {code!r} is not known for {task}; {nearest(name, (*at_k, *without))}")
    if bool(re.fullmatch(r"[1-9]\d*", cut)) != (name in at_k) or (cut and name in without):
        fit = f"{name}@10" if name in at_k else name
        raise ConfigError(f"metric = {code!r} does not fit; write for instance {fit!r}")
    return name, int(cut) if cut else None


METRIC_NAMES = {
    "hr": "HR",
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "map": "MAP",
    "mrr": "MRR",
    "auc": "AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "sampled_hr": "sampled HR",
    "sampled_ndcg": "sampled NDCG",
    "novelty": "Novelty",
    "popularity": "Popularity",
    "diversity": "Diversity",
    "coverage": "Coverage",
    "gini": "Gini",
}
OF_LISTS = {"novelty": "bits", "popularity": "users", "diversity": "", "coverage": "", "gini": ""}  # and their units


def metric_name(metric: str) -> str:
    """A metric as people write it: NDCG@10."""
    name, at, cut = metric.partition("@")
    return METRIC_NAMES.get(name, name) + at + cut


def counted(number: int, noun: str) -> str:
    """A count and its noun: ``1 row``, ``2,434 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def is_of_lists(metric: str) -> bool:
    """Does it describe what lists are like, rather than how good they are?"""
    return metric.partition("@")[0] in OF_LISTS
