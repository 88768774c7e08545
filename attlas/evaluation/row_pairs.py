"""Who predicts rows better than whom, and whether other users or another training run could turn it.

Shapes: S seeds, V users, P pairs of contenders, R resamples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np

from attlas.errors import ConfigError
from attlas.evaluation.metrics import ERRORS
from attlas.evaluation.rows import RowReport, refuse_mixed_rows
from attlas.evaluation.significance import DECIMALS, Duel, Pair, holm, judged, seeds_half, signed_rank_p, untested


def compare_row_pairs(
    reports: Mapping[str, Sequence[RowReport]], metric: str, *, random: Collection[str] = (), level: float = 0.95
) -> list[Pair]:
    """Every pair of contenders once, in the order in which they are named, the better one first.

    The test is Wilcoxon's signed ranks, seeds averaged, of what each user's rows add to the metric: rows of one user are alike
    and are no witnesses of their own. It is corrected by Holm over all pairs. The interval is a percentile bootstrap over users
    of the difference of the two metrics themselves, widened by what the seeds differ, as in ``compare_pairs``. Both must agree
    before anything is called significant.

    Args:
        reports: for each name one report per seed, all of the same rows.
        metric: rmse, mae, logloss or auc.
        random: the names of those that would be other models under other seeds.
        level: of the interval, in 0..1.

    Raises:
        ConfigError: reports that do not compare, or without what each user's rows add.
    """
    refuse_mixed_rows({f"{name} {place}": report for name, each in reports.items() for place, report in enumerate(each, 1)})
    for name, each in reports.items():
        if any(metric not in report.total for report in each):
            raise ConfigError(
                f"the reports of {name} do not say what each user's rows add to {metric}; measure them by_user=True"
            )
    pooled = {name: each[0].averaged(each) for name, each in reports.items()}
    duels = {pair: _duel(pair, reports, pooled, metric, level) for pair in combinations(reports, 2)}
    p_values = holm([duel.p_value for duel in duels.values()])
    one_seed = {name for name in random if len(reports[name]) == 1}
    pairs = [judged(pair, duels[pair], metric, float(p_value), level) for pair, p_value in zip(duels, p_values, strict=True)]
    return [untested(pair, one_seed) for pair in pairs]


def _duel(
    pair: tuple[str, str],
    reports: Mapping[str, Sequence[RowReport]],
    pooled: Mapping[str, RowReport],
    metric: str,
    level: float,
) -> Duel:
    """The first against the second; a difference above 0 says that the first is better."""
    sign = -1 if metric in ERRORS else 1
    one, other = (pooled[name] for name in pair)
    step_V = sign * np.round(one.total[metric] - other.total[metric], DECIMALS)
    moved_R = sign * np.round(one.resampled(metric) - other.resampled(metric), DECIMALS)
    low, high = np.quantile(moved_R, ((1 - level) / 2, (1 + level) / 2))
    seeds = seeds_half([np.array([report.mean(metric) for report in reports[name]]) for name in pair], level)
    difference = sign * round(one.mean(metric) - other.mean(metric), DECIMALS)
    return Duel(
        (one.mean(metric), other.mean(metric)),
        difference,
        float(difference - np.hypot(difference - low, seeds)),
        float(difference + np.hypot(high - difference, seeds)),
        signed_rank_p(step_V),
    )
