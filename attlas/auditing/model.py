"""What is wrong with a trained model's number: what it reads that it should not, and what its scores are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from attlas.auditing.attention import of_attention
from attlas.auditing.finding import Finding, graded, percent
from attlas.auditing.histories import of_histories
from attlas.auditing.labelled import audit_reader
from attlas.auditing.lists import of_lists
from attlas.auditing.measuring import Bench, usual_codes
from attlas.auditing.settings import audit_settings
from attlas.auditing.split import cells
from attlas.auditing.ties import of_reversal, of_ties
from attlas.auditing.untrained import of_untrained
from attlas.data.examples import Examples
from attlas.data.split import Split
from attlas.evaluation.naming import counted
from attlas.evaluation.report import Report, RowReport
from attlas.experiment import Experiment
from attlas.models.protocol import task_of
from attlas.scoring import Scorer
from attlas.telling import Teller


def audit_model(
    scorer: Scorer,
    split: Split,
    reports: Sequence[Report | RowReport] = (),
    experiment: Experiment | None = None,
    *,
    name: str = "",
    tell: Teller | None = None,
) -> list[Finding]:
    """What is wrong with the numbers of a trained model.

    Args:
        scorer: of the model and what it was trained on.
        split: what the reports are of.
        reports: what evaluation found; their protocols and first cut-off are those of the effects. None means full, and ncf
            where candidates are given, at 10.
        experiment: the settings it was trained with, if they are known.
        name: what it is called; "" takes its class.
        tell: shows bars.
    """
    if isinstance(split.train, Examples):
        task = next((report.protocol for report in reports), "label")
        settings = [] if experiment is None else audit_settings(experiment, split, subject=name)
        return settings + audit_reader(scorer, split, task, name=name or type(scorer.model).__name__)
    ranked = [report for report in reports if isinstance(report, Report)]
    is_rating, called = task_of(scorer.model) == "rating", name or type(scorer.model).__name__
    codes = ("rating",) if is_rating and not ranked else usual_codes(split, tuple(report.protocol for report in ranked))
    bench = Bench(scorer, split, codes, ranked[0].k[0] if ranked else 10, called, tell or Teller())
    bench.trust(ranked)
    found = [] if experiment is None else audit_settings(experiment, split, subject=called)
    return found + of_model(bench)


def of_model(bench: Bench) -> list[Finding]:
    """What is wrong with the numbers of a bench's model."""
    found = [*_trained_on_test(bench)]
    ranking: tuple[Callable[[Bench], Iterator[Finding]], ...] = (of_untrained, of_ties, of_reversal, of_lists)
    either: tuple[Callable[[Bench], Iterator[Finding]], ...] = (of_histories, of_attention)
    checks = either if bench.is_rating else (*ranking, *either)
    return found + [finding for check in checks for finding in check(bench)]


def _trained_on_test(bench: Bench) -> Iterator[Finding]:
    known, test, split = bench.scorer.train, bench.split.test, bench.split
    own = np.concatenate([cells(part) for part in (split.train, split.valid, split.given) if part is not None])
    is_known = np.isin(cells(test), cells(known)) & ~np.isin(cells(test), own)  # what a part repeats is the split's own fault
    if is_known.any():
        share = float(is_known.mean())
        yield Finding(
            "trained-on-test",
            graded(share, warning=0, error=0.01),
            bench.name,
            f"the model's training rows hold {counted(int(is_known.sum()), 'test row')} ({percent(share)}) that neither "
            "training nor validation has",
            share,
            bench.change("without them", kept=~is_known) or "every test row was trained on: the number says nothing",
            "fit on split.train; a run trained on all rows has no metric of its own",
        )
