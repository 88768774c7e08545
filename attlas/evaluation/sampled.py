"""What a place among sampled candidates tells of the place among all items: corrected metrics (Krichene and Rendle, KDD 2020).

A ranking has one relevant item, n items in all, and its rank in a sample of m others, drawn evenly and each at most once. An
item of full rank r then stands behind j of the sample with the probability of a hypergeometric law: j of r - 1 better items
in m draws from n - 1. (The paper draws with replacement, which makes it binomial; for m far below n they are alike.) A
corrected metric is a table f[j] by which M(r), the metric at rank r, is estimated from j alone.

The other way round is exact: where every item was ranked, the metric that a sample would give is known in expectation.

    paper           here                  shape
    M(r)            gain_kG               [k, G]      G metrics, 0 below place k
    r~ - 1, r - 1   ahead                 [U]         in the sample; among all
    m, n            samples, num_items
    f^              table                 [m + 1, G]
    gamma           variance_weight
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.stats import hypergeom

from attlas.evaluation.metrics import Ranks, hit_rate, ndcg

SAMPLES = 99  # the NCF paper's
Estimator = Callable[[np.ndarray, int, int], np.ndarray]


def trade_off(gain_kG: np.ndarray, samples: int, num_items: int, *, variance_weight: float = 0.1) -> np.ndarray:
    """The corrected metrics by how many samples stand ahead, [m + 1, G]: little bias at little variance.

    Minimises (E[f | r] - M(r))^2 + variance_weight Var[f | r], summed over all full ranks r alike: the paper's bias-variance
    trade-off with p(r) even. Values are estimates and may lie below 0 or above 1. Where the sample is all there is, f is M.

    Given r, the mean of a polynomial of degree d in j is one of degree d in r, and the other way round. So the least squares
    are diagonal in the polynomials that are orthogonal on evenly spaced points, and need no sum over the catalogue.

    Args:
        gain_kG: the value of each metric at the first k full places.
        samples: m, at least 0.
        num_items: n, at least m + 1.
        variance_weight: gamma in (0, 1]; the paper recommends 0.1.
    """
    gain_kG = gain_kG[:num_items]
    degree = np.arange(1, samples + 1)
    # The squared norm that a polynomial of each degree keeps on its way from ranks to places in the sample.
    kept = np.cumprod((samples + 1 - degree) * (num_items + degree) / ((num_items - degree) * (samples + 1 + degree)))
    weight = 1.0 / ((1.0 - variance_weight) * np.concatenate([[1.0], kept]) + variance_weight)
    ahead = np.arange(len(gain_kG))
    law_rj = hypergeom.pmf(ahead[None, : samples + 1], num_items - 1, ahead[:, None], samples)
    basis_jd = _orthogonal_polynomials(samples + 1)
    coefficient_dG = basis_jd[: law_rj.shape[1]].T @ (law_rj.T @ gain_kG) * (samples + 1) / num_items
    table: np.ndarray = basis_jd @ (weight[:, None] * coefficient_dG)
    return table


def unbiased_rank(gain_kG: np.ndarray, samples: int, num_items: int) -> np.ndarray:
    """The metrics at the rank whose estimate is unbiased, 1 + (n - 1) j / m, by how many samples stand ahead, [m + 1, G].

    The rank is unbiased, the metric of it is not; it is the first of the paper's corrections.
    """
    place = (num_items - 1) * np.arange(samples + 1) // max(samples, 1)
    padded_G = np.vstack([gain_kG, np.zeros_like(gain_kG[:1])])
    return padded_G[np.minimum(place, len(gain_kG))]


def corrected(
    gain_kG: np.ndarray,
    ahead_U: np.ndarray,
    tied_U: np.ndarray,
    samples_U: np.ndarray,
    num_items_U: np.ndarray,
    *,
    estimator: Estimator = trade_off,
) -> np.ndarray:
    """Corrected metrics of rankings with one relevant item each, float64[U, G]; over ties the mean of all their orders.

    Args:
        gain_kG: the value of each metric at the first k full places.
        ahead_U: candidates that score strictly higher.
        tied_U: candidates that score the same, the relevant item included.
        samples_U: m, candidates beside the relevant item.
        num_items_U: n, items that candidates were drawn from, the relevant one included; at least m + 1.
    """
    value_UG = np.empty((len(ahead_U), gain_kG.shape[1]))
    drawn, kind_U = np.unique(np.stack([samples_U, num_items_U]), axis=1, return_inverse=True)
    for kind, (samples, num_items) in enumerate(drawn.T.tolist()):
        rows = np.flatnonzero(kind_U == kind)
        up_to = np.vstack([np.zeros_like(gain_kG[:1]), np.cumsum(estimator(gain_kG, samples, num_items), axis=0)])
        ahead, tied = ahead_U[rows], tied_U[rows]
        value_UG[rows] = (up_to[ahead + tied] - up_to[ahead]) / tied[:, None]
    return value_UG


def gain_of(metric: Callable[[Ranks, int], np.ndarray], k: int, places: int) -> np.ndarray:
    """A metric at k by the place of the one relevant item, float64[places]."""
    place = np.arange(places)
    return metric(Ranks(place, place, np.ones_like(place), np.full(places, places)), k)


def expected(metric: Callable[[Ranks, int], np.ndarray], ranks: Ranks, k: int, *, samples: int = SAMPLES) -> np.ndarray:
    """A metric of each relevant item among others drawn evenly, each at most once, averaged over all draws; float64[U].

    Every relevant item is ranked by itself, as where one is held out of each user, and a user's value is their mean. Ties
    are averaged. Of other relevant items, those ranked with it can be drawn like the rest.

    An item at place r + 1 of n has j of m samples ahead with hypergeometric probability. Summed over r < R, these are
    n / (m + 1) times the probability that more than j of m + 1 draws from n are among R of them: a sum over ties is two looks.

    Args:
        samples: m; all others where there are fewer.
    """
    gain_k = gain_of(metric, k, k)
    num_items_T = ranks.num_candidates[ranks.owner]
    samples_T = np.minimum(samples, num_items_T - 1)
    ahead = np.arange(len(gain_k))

    def summed(reach_T: np.ndarray) -> np.ndarray:
        """The gains of the places 0 .. reach - 1, added up."""
        law_Tk = hypergeom.pmf(ahead, num_items_T[:, None], reach_T[:, None], samples_T[:, None] + 1)
        total_T: np.ndarray = (1.0 - law_Tk.cumsum(axis=1)) @ gain_k
        return total_T * num_items_T / (samples_T + 1)

    value_T = (summed(ranks.ahead + ranks.tied) - summed(ranks.ahead)) / ranks.tied
    return np.bincount(ranks.owner, weights=value_T) / ranks.num_relevant


EXPECTED: dict[str, Callable[[Ranks, int], np.ndarray]] = {
    "sampled_hr": partial(expected, hit_rate),
    "sampled_ndcg": partial(expected, ndcg),
}


@lru_cache(maxsize=64)
def _orthogonal_polynomials(count: int) -> np.ndarray:
    """Polynomials of degree 0, 1, ... at 0, 1, ..., count - 1, each of norm 1 and orthogonal to the others; [count, count].

    Their recurrence loses its digits in high degrees; as the eigenvectors of its matrix they keep them.
    """
    degree = np.arange(1.0, count)
    step = degree / 2 * np.sqrt((count**2 - degree**2) / (4 * degree**2 - 1))
    _, vector_dj = eigh_tridiagonal(np.full(count, (count - 1) / 2), step)
    basis: np.ndarray = (vector_dj * np.sign(vector_dj[0])).T
    return basis
