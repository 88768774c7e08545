"""Who is above whom, and whether other users or another training run could turn it: paired tests over users and seeds.

Shapes: S seeds of one contender, V users, C contenders, P pairs of them, R resamples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap, t, wilcoxon

from attlas.errors import ConfigError
from attlas.evaluation.metrics import ERRORS
from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import CELLS_AT_ONCE

RESAMPLES = 2000
NEXT_TO_NOTHING = 1e-4  # a mean of which no share says anything
DECIMALS = 12  # beyond them, what averaging over seeds leaves of equal values is rounding, which would be ranked
Names = tuple[str, str]


@dataclass(frozen=True)
class Pair:
    """Two contenders under one metric, the better one first: the one with the higher mean, or with the lower error.

    Attributes:
        above, below: their names; of equal means the one named first is ``above``.
        metric: for instance ``ndcg@10``.
        difference: of their means over users and seeds, in units of the metric; never negative.
        low, high: its interval, over users and seeds; not corrected for the number of pairs.
        relative: the difference as a fraction of the mean of ``below``; nan if that is next to nothing.
        relative_half: half the width of the interval as a fraction of the same.
        p_value: of the paired test over users, corrected for the number of pairs.
        is_significant: whether the corrected p-value is below 1 - level and the interval lies above 0.
        single: which of them would be another model under another seed, and was fitted under one only: then nothing is tested.
    """

    above: str
    below: str
    metric: str
    difference: float
    low: float
    high: float
    relative: float
    relative_half: float
    p_value: float
    is_significant: bool
    single: tuple[str, ...] = ()

    def sentence(self) -> str:
        """``DELF is above EASE by 0.4 % ± 0.6 %: not significant``; in brackets the difference in units of the metric.

        The interval is that of the pair alone, p is corrected for all pairs.
        """
        verdict = "significant" if self.is_significant else "not significant"
        if self.single:
            verdict = f"not tested, {' and '.join(self.single)} under one seed only"
        lower = " lower" if self.metric in ERRORS else ""
        units = f"{metric_name(self.metric)}{lower} by {self.difference:.4f}, {self.low:.4f} to {self.high:.4f}"
        units += f" for this pair alone; p {self.p_value:.2g} among all"
        if self.difference == 0:
            return f"{self.above} is level with {self.below}: {verdict} ({units})"
        share = "" if np.isnan(self.relative) else f" by {100 * self.relative:.1f} % ± {100 * self.relative_half:.1f} %"
        return f"{self.above} is {'better than' if lower else 'above'} {self.below}{share}: {verdict} ({units})"


def compare_pairs(
    values: Mapping[str, np.ndarray], metric: str, *, random: Collection[str] = (), level: float = 0.95
) -> list[Pair]:
    """Every pair of contenders once, in the order in which they are named.

    The test is Wilcoxon's signed ranks of the users' differences, seeds averaged, corrected by Holm over all pairs. It is
    asked in the direction of the means and doubled, so that ranks which contradict the means give a p-value of 1. Users
    without a difference are many under a cut-off; they take part in the ranking (Pratt 1959), so that the more users stand
    still, the less it weighs how large a step is.

    The interval is a percentile bootstrap over users, equal in every run. Models from other seeds would differ too, so it is
    widened in quadrature by a quantile of Student's t, with the degrees of freedom of Welch and Satterthwaite, times
    sqrt(s_a^2 / S_a + s_b^2 / S_b), where s is the standard deviation of a contender's mean over its seeds. One seed has no
    spread and widens nothing: right for a model where nothing is drawn at random. Of one that is named as ``random`` it says
    too little, and nothing is called significant.

    Args:
        values: for each name float64[S, V]; S may differ, V are the same users in the same order. A user with a nan under
            either of two contenders is left out of that pair.
        metric: what the values are, for instance ``ndcg@10``.
        random: the names of those that would be other models under other seeds.
        level: of the interval, in 0..1; 1 - level is what a p-value has to be below.

    Raises:
        ConfigError: values of different users, two contenders without a common user, or a level outside 0..1.
    """
    _check(values, level)
    is_defined = {name: ~np.isnan(value).any(axis=0) for name, value in values.items()}
    duels = {pair: is_defined[pair[0]] & is_defined[pair[1]] for pair in combinations(values, 2)}
    found: dict[Names, Duel] = {}
    for mask in {is_in_V.tobytes() for is_in_V in duels.values()}:  # mostly one: pairs of the same users share their resamples
        alike = [pair for pair, is_in_V in duels.items() if is_in_V.tobytes() == mask]
        found |= _fight(values, alike, duels[alike[0]], level)
    p_values = holm([found[pair].p_value for pair in duels])
    one_seed = {name for name in random if len(values[name]) == 1}
    pairs = [judged(pair, found[pair], metric, float(p_value), level) for pair, p_value in zip(duels, p_values, strict=True)]
    return [untested(pair, one_seed) for pair in pairs]


def untested(pair: Pair, one_seed: Collection[str]) -> Pair:
    """The same pair, which is not called significant if either was fitted under one seed and would differ under another."""
    single = tuple(name for name in (pair.above, pair.below) if name in one_seed)
    return replace(pair, single=single, is_significant=False) if single else pair


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values corrected for how many they are, in the order given, float64[P].

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    p_P = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_P, kind="stable")
    stepped_P = np.maximum.accumulate(p_P[order] * np.arange(len(p_P), 0, -1))
    corrected_P = np.empty_like(p_P)
    corrected_P[order] = np.minimum(stepped_P, 1.0)
    return corrected_P


class Duel(NamedTuple):
    """The first of two contenders against the second: both means, their difference and its interval, the p-value alone."""

    means: tuple[float, float]
    difference: float
    low: float
    high: float
    p_value: float


def _check(values: Mapping[str, np.ndarray], level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"level={level}: expected a fraction between 0 and 1, such as 0.95")
    shapes = {name: np.shape(value) for name, value in values.items()}
    if any(len(shape) != 2 or not shape[0] for shape in shapes.values()) or len({shape[1] for shape in shapes.values()}) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ConfigError(f"expected one row of values per seed and the same users for all, got {said}; compare on one split")


def _fight(values: Mapping[str, np.ndarray], pairs: list[Names], is_in_V: np.ndarray, level: float) -> dict[Names, Duel]:
    """What users and seeds say of pairs that have the same users."""
    if not is_in_V.any():
        one, other = pairs[0]
        raise ConfigError(f"no user has a value under both {one!r} and {other!r}; leave one of them out")
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    value = {name: values[name][:, is_in_V] for name in names}
    mean_CV = np.stack([value[name].mean(axis=0) for name in names])
    place_P2 = np.array([[names.index(name) for name in pair] for pair in pairs])
    low_P, high_P = _users_interval(mean_CV, place_P2, level)
    duels = {}
    for pair, (one, other), low, high in zip(pairs, place_P2, low_P, high_P, strict=True):
        step_V = np.round(mean_CV[one] - mean_CV[other], DECIMALS)
        seeds = seeds_half([value[name].mean(axis=1) for name in pair], level)
        difference = step_V.mean()
        duels[pair] = Duel(
            (float(mean_CV[one].mean()), float(mean_CV[other].mean())),
            float(difference),
            float(difference - np.hypot(difference - low, seeds)),
            float(difference + np.hypot(high - difference, seeds)),
            signed_rank_p(step_V),
        )
    return duels


def _users_interval(mean_CV: np.ndarray, place_P2: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the difference of each pair with other users like these, [P] each."""
    num_users = mean_CV.shape[1]

    def differences(user_RV: np.ndarray, axis: int) -> np.ndarray:
        count_RV = np.stack([np.bincount(user_V, minlength=num_users) for user_V in user_RV]).astype(np.float64)
        mean_CR = mean_CV @ count_RV.T / num_users
        return np.round(mean_CR[place_P2[:, 0]] - mean_CR[place_P2[:, 1]], DECIMALS)

    if num_users == 1:
        only_P = mean_CV[place_P2[:, 0], 0] - mean_CV[place_P2[:, 1], 0]
        return only_P, only_P
    found = bootstrap(
        (np.arange(num_users),),
        differences,
        confidence_level=level,
        n_resamples=RESAMPLES,
        batch=max(1, CELLS_AT_ONCE // num_users),
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return found.low, found.high


def seeds_half(means: Sequence[np.ndarray], level: float) -> float:
    """How far the difference of two means over seeds may be off, by their spread; 0 if neither has any."""
    parts = [(np.var(mean_S, ddof=1) / len(mean_S), len(mean_S) - 1) for mean_S in means if len(mean_S) > 1]
    variance = sum(part for part, _ in parts)
    if variance < 10.0 ** (-2 * DECIMALS):
        return 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return float(t.ppf((1 + level) / 2, freedom) * np.sqrt(variance))


def signed_rank_p(step_V: np.ndarray) -> float:
    """Wilcoxon's, in the direction of the mean and doubled; 1 where no user differs."""
    if not step_V.any():
        return 1.0
    direction = "greater" if step_V.mean() >= 0 else "less"
    return min(1.0, 2 * float(wilcoxon(step_V, zero_method="pratt", alternative=direction).pvalue))


def judged(names: Names, duel: Duel, metric: str, p_value: float, level: float) -> Pair:
    """The pair that a duel makes, with its p-value corrected for the number of duels."""
    (above, below), (_, mean_below), difference, low, high, _ = names, *duel
    if difference < 0:
        above, below, mean_below, difference, low, high = below, above, duel.means[0], -difference, -high, -low
    scale = 1 / abs(mean_below) if abs(mean_below) > NEXT_TO_NOTHING else np.nan
    is_significant = p_value < 1 - level and low > 0
    half = (high - low) / 2
    return Pair(above, below, metric, difference, low, high, scale * difference, scale * half, p_value, is_significant)
