"""Numbers that hang on how ties are broken, or on which items a held-out one is ranked against.

Shapes: T held-out items that are ranked, U rankings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from attlas.auditing.candidates import is_sampled
from attlas.auditing.finding import Finding, graded, percent
from attlas.auditing.measuring import Bench, affordable
from attlas.auditing.together import reversals
from attlas.evaluation.metrics import AT_K, Ranks
from attlas.evaluation.protocols import find_protocol, rank_held_out
from attlas.evaluation.report import Report
from attlas.models.reasons import reasons_of
from attlas.scoring import Scorer

FEW = 0.01  # of the held-out items; fewer ties move no metric


def of_ties(bench: Bench) -> Iterator[Finding]:
    """How many held-out items tie with another candidate, and the metric with them first and last."""
    for code in bench.codes:
        report, known = bench.report(code), bench.all_rows(code)
        if report is None or known is None or report.tie_share < FEW:
            continue
        with bench.bar(f"{code} ties") as watch:
            ranks = rank_held_out(bench.scorer, affordable(bench.split, code), find_protocol(code), watch=watch).ranks
        share = float(np.mean(ranks.tied > 1))
        first, mean, last = (float(AT_K["ndcg"](each, bench.k).mean()) for each in (_first(ranks), ranks, _last(ranks)))
        luck = (mean - last) / mean if mean else 0.0  # what of the metric the ties give, in the mean over their orders
        assert isinstance(bench.scorer, Scorer)
        is_count = reasons_of(bench.scorer.model) == "popularity"  # whole numbers tie, and everybody expects them to
        yield Finding(
            "ties",
            "info" if is_count else graded(luck, warning=0.1, error=0.5),
            bench.name,
            f"{percent(share)} of the held-out items have the same score as another candidate ({known.whose})",
            share,
            f"ndcg@{bench.k} {mean:.4f}: {last:.4f} with ties last, {first:.4f} with ties first",
            "attlas averages over all orders; code that sorts may give any of these: compare only what breaks ties alike"
            + ("" if is_count or luck < 0.1 else ", and find out why so many scores are equal"),
        )


def of_reversal(bench: Bench) -> Iterator[Finding]:
    """Whether the given candidates and the whole catalogue put the model and popularity in another order."""
    assert isinstance(bench.scorer, Scorer)
    if not is_sampled(bench.split) or bench.split.given is not None or reasons_of(bench.scorer.model) == "popularity":
        return
    sampled = next((code for code in bench.codes if find_protocol(code).against == "candidates"), "ncf")
    rankings: dict[str, dict[str, Report]] = {
        each.name: {code: report for code in (sampled, "full") if (report := each.report(code))}
        for each in (bench, bench.rival())
    }
    known = [figures for code in (sampled, "full") if (figures := bench.all_rows(code)) and figures.users]
    drawn = f" ({'; '.join(figures.whose for figures in known)})" if known else ""
    for found in reversals(rankings, sampled, "full", metric=f"ndcg@{bench.k}", subject=bench.name):
        yield replace(found, effect=f"{found.effect}{drawn}")


def _mates(ranks: Ranks) -> np.ndarray:
    """How many relevant items share each one's score, itself included, int64[T]."""
    _, group_T, size = np.unique(np.stack([ranks.owner, ranks.ahead]), axis=1, return_inverse=True, return_counts=True)
    mates: np.ndarray = size[group_T.ravel()]
    return mates


def _first(ranks: Ranks) -> Ranks:
    return replace(ranks, tied=_mates(ranks))


def _last(ranks: Ranks) -> Ranks:
    mates_T = _mates(ranks)
    return replace(ranks, ahead=ranks.ahead + ranks.tied - mates_T, tied=mates_T)
