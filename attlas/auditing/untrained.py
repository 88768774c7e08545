"""How a model scores items it has never been trained on, and what that does to its metric.

Where such items share one high score, whoever is asked gets them first, and a test whose held-out items are often of that
kind takes it for insight: DELF with its empirical fusion, HR@10 of 0.74 on Amazon Music and 0.33 without such items
(Ferrari Dacrema et al., TOIS 2021).

Shapes: V users, I items, E untrained items.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import fisher_exact

from attlas.auditing.finding import Finding, Severity, percent
from attlas.auditing.lists import lists_of
from attlas.auditing.measuring import Bench, Figures
from attlas.evaluation.naming import counted

SAMPLE = 200  # users whose scores are looked at
FALL = 0.9  # of the metric; one that falls below this part of itself was of the untrained items
FEWEST = 5  # held-out rows of untrained items that a metric could live by
RARE = 0.01  # p-value from which on more hits among them are no chance
CROWD = 0.2  # of the places in lists; more than that is noise or a constant that takes the place of advice


def of_untrained(bench: Bench) -> Iterator[Finding]:
    """Their share of the first places, ties among their scores, and the metric when they are no candidates."""
    split = bench.split
    is_untrained_I = np.diff(bench.scorer.train.by_item.indptr) == 0
    if not is_untrained_I.any() or split.given is not None:
        return
    is_cold_N = is_untrained_I[split.test.item]
    effects = [_effect(bench, code, is_untrained_I) for code in bench.codes]
    is_lived_by = any(is_wrong for is_wrong, _ in effects)
    listed, cold = lists_of(bench).items, float(is_cold_N.mean())
    places = float(is_untrained_I[listed].mean()) if listed.size else 0.0
    severity: Severity = "error" if is_lived_by else "warning" if places >= max(CROWD, 2 * cold) else "info"
    yield Finding(
        "untrained-items",
        severity,
        bench.name,
        f"{counted(int(is_untrained_I.sum()), 'item')} ({percent(float(is_untrained_I.mean()))}) were never trained on; they "
        f"take {percent(places)} of the first {bench.k} places and are {percent(cold)} of the held-out rows; "
        f"{percent(_tied(bench, is_untrained_I))} of their scores tie with another of them",
        places,
        "; ".join(told for _, told in effects if told) or None,
        "say how many there are; the metric does not live by them"
        if severity == "info"
        else "report the metric without them, and score what nobody has taught below what is known",
    )


def _effect(bench: Bench, code: str, is_untrained_I: np.ndarray) -> tuple[bool, str]:
    """Whether a protocol's metric lives by untrained items, and the metric with and without them.

    It does if it falls when they are taken out, or if held-out items that no model can know are found more often than those
    that it was trained on, beyond chance.
    """
    is_cold_N = is_untrained_I[bench.split.test.item]
    before, after = bench.all_rows(code), bench.figures(code, kept=~is_cold_N, without=is_untrained_I)
    if not before or not after:
        return False, ""
    told = f"{bench.name}: {before.to(after, 'when such items are no candidates and no targets')}"
    falls = any(after.values[name] < FALL * value for name, value in before.values.items())
    if is_cold_N.sum() < FEWEST:
        return False, told
    cold, warm = bench.figures(code, kept=is_cold_N), bench.figures(code, kept=~is_cold_N)
    if cold and warm:
        told += f", of such targets alone {cold.spoken()}"
        is_above = all(cold.values[name] > value for name, value in warm.values.items())
        falls |= is_above and _chance(bench, cold, warm, is_cold_N) < RARE
    return falls, told


def _chance(bench: Bench, cold: Figures, warm: Figures, is_cold_N: np.ndarray) -> float:
    """How likely so many hits among untrained targets are if they are found as often as others: Fisher's exact test."""
    table = []
    for figures, rows in ((cold, is_cold_N), (warm, ~is_cold_N)):
        users = figures.users or len(np.unique(bench.split.test.user[rows]))
        hits = round(users * figures.values[f"hr@{bench.k}"])
        table.append([hits, users - hits])
    return float(fisher_exact(table, alternative="greater").pvalue)


def _tied(bench: Bench, is_untrained_I: np.ndarray) -> float:
    """The share of untrained items whose score equals that of another one, the mean over users."""
    users = np.unique(bench.split.test.user)
    if len(users) > SAMPLE:
        users = np.random.default_rng(0).choice(users, SAMPLE, replace=False)
    shares = []
    for first in range(0, len(users), bench.scorer.users_at_once):
        score_VE = np.sort(bench.scorer.score_all(users[first : first + bench.scorer.users_at_once])[:, is_untrained_I], axis=1)
        same = score_VE[:, 1:] == score_VE[:, :-1]
        pad = np.zeros((len(score_VE), 1), bool)
        shares.append((np.hstack([same, pad]) | np.hstack([pad, same])).mean(axis=1))
    return float(np.concatenate(shares).mean())
