"""What is wrong with the number of a model of labelled rows: what it has seen, what it answers, what it attends to.

Shapes: N test rows, P pairs of fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from attlas.auditing.attention import ONE_HOT, UNIFORM
from attlas.auditing.examples import Parts, parts_of, row_keys
from attlas.auditing.finding import Finding, graded, not_reproduced, percent
from attlas.auditing.split import cells
from attlas.data.examples import ExampleInputs, Examples
from attlas.data.split import Split
from attlas.evaluation.evaluate import evaluate_rows
from attlas.evaluation.naming import counted
from attlas.models.reasons import Attending
from attlas.scoring import Scorer

SAMPLE = 20_000  # test rows whose attention is looked at


def audit_reader(
    scorer: Scorer, split: Split, task: str, *, name: str, reports: Sequence[dict[str, Any]] = ()
) -> list[Finding]:
    """What is wrong with the numbers of a trained model of labelled rows.

    Args:
        scorer: of the model and the rows that it was trained on.
        split: what the numbers are of.
        task: by what it is measured: ``label`` or ``target``.
        name: what it is called.
        reports: what was reported, as a card has it.
    """
    parts = parts_of(split)
    found = [*_trained_on_test(scorer, parts, task, name), *_constant(scorer, parts, name)]
    found += [*_unknown_rows(scorer, parts, task, name), *_attention(scorer, parts, name)]
    return found + list(_not_reproduced(scorer, parts, task, name, reports))


def _told(scorer: Scorer, test: Examples, kept: np.ndarray, task: str, name: str) -> str | None:
    """The figures of all rows and of those that are kept; None where no row is left."""
    if not kept.any():
        return None
    before, after = (evaluate_rows(scorer, rows, task).values for rows in (test, test.take(kept)))
    spoken = ", ".join(f"{metric} {value:.4f} -> {after[metric]:.4f}" for metric, value in before.items())
    return f"{name}: {spoken} without them ({task})"


def _trained_on_test(scorer: Scorer, split: Parts, task: str, name: str) -> Iterator[Finding]:
    known, own = scorer.inputs.data, [part for part in (split.train, split.valid) if part is not None]
    if isinstance(known, Examples):
        test, of_model, of_split = row_keys(split.test), row_keys(known), [row_keys(part) for part in own]
    else:  # of a saved run only the pairs that were positive are there
        test, of_model, of_split = _positives(split.test), cells(known), [cells(part.chosen) for part in own]
    is_known = np.isin(test, of_model) & ~np.isin(test, np.concatenate(of_split))
    if is_known.any():
        share = float(is_known.mean())
        yield Finding(
            "trained-on-test",
            graded(share, warning=0, error=0.01),
            name,
            f"the model's training rows hold {counted(int(is_known.sum()), 'test row')} ({percent(share)}) that neither "
            "training nor validation has",
            share,
            _told(scorer, split.test, ~is_known, task, name) or "every test row was trained on: the number says nothing",
            "fit on split.train; a run trained on all rows has no metric of its own",
        )


def _positives(part: Examples) -> np.ndarray:
    """The cell of user and item of each row, int64[N]; -1 where it is unknown, or the label is 0."""
    user, item = part.ids("user"), part.ids("item")
    is_one = (part.label > 0) & (user < len(part.users)) & (item < len(part.items))
    return np.where(is_one, user * len(part.items) + item, -1)


def _constant(scorer: Scorer, split: Parts, name: str) -> Iterator[Finding]:
    """All rows alike, of a model that has more than one number to tell them apart by."""
    score_N, numbers = scorer.score_rows(split.test), sum(parameter.numel() for parameter in scorer.model.parameters())
    if len(score_N) > 1 and score_N.min() == score_N.max() and numbers > 1:
        yield Finding(
            "constant-scores",
            "warning",
            name,
            f"all {len(score_N):,} test rows have the score {score_N[0]:.4g}",
            1.0,
            "its AUC is chance, and its error is that of a constant",
            "look at the learning rate and the loss; a model whose steps are too large may have died",
        )


def _unknown_rows(scorer: Scorer, split: Parts, task: str, name: str) -> Iterator[Finding]:
    is_unknown_N = (split.test.index == split.test.features.unknown).any(axis=1)
    told = _told(scorer, split.test, ~is_unknown_N, task, name) if is_unknown_N.any() else None
    if told:
        share = float(is_unknown_N.mean())
        yield Finding(
            "unknown-rows",
            graded(share, warning=0.05),
            name,
            f"{counted(int(is_unknown_N.sum()), 'test row')} ({percent(share)}) hold a category that training has not",
            share,
            told,
            "report the metric with and without these rows",
        )


def _attention(scorer: Scorer, split: Parts, name: str) -> Iterator[Finding]:
    """The entropy of the weights of a row's pairs, as a share of the largest there could be: 1 is a mean, 0 a single pair."""
    model = scorer.model
    if not isinstance(model, Attending) or not model.attends:
        return
    rows = np.sort(np.random.default_rng(0).permutation(len(split.test))[:SAMPLE])
    fields, _ = ExampleInputs(split.test, device=scorer.inputs.device).rows(rows)
    with torch.inference_mode():
        weight_NP = model.weigh_pairs(fields)[0].double().cpu()
    if weight_NP.shape[1] < 2:
        return
    entropy_N = -torch.special.xlogy(weight_NP, weight_NP).sum(-1) / np.log(weight_NP.shape[1])
    mean = float(entropy_N.mean())
    is_flat, is_peaked = mean > UNIFORM, mean < ONE_HOT
    said = (
        f"the attention has {100 * mean:.4g} % of the largest entropy there could be, in the mean over "
        f"{len(rows):,} test rows of {weight_NP.shape[1]} pairs"
    )
    if is_flat or is_peaked:
        said += ": it weighs all pairs alike" if is_flat else ": it sees one pair and forgets the rest"
    yield Finding(
        "collapsed-attention" if is_flat or is_peaked else "attention-entropy",
        graded(float(is_flat or is_peaked), warning=1),
        name,
        said,
        mean,
        "uniform weights would give the same scores, and explanations by weights explain nothing"
        if is_flat
        else "scores and explanations hang on one pair of fields"
        if is_peaked
        else f"{percent(float((entropy_N > 0.99).double().mean()))} of the rows are within 1 % of uniform weights",
        "compare with attention = 'uniform'; a larger learning rate or larger vectors at the start may wake it"
        if is_flat
        else "look at the range of the logits; more l2 on the attention network spreads the weights"
        if is_peaked
        else "compare with attention = 'uniform' before claiming that attention helps",
    )


def _not_reproduced(scorer: Scorer, split: Parts, task: str, name: str, reports: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    known: dict[str, Any] = next((report["means"] for report in reports if report["protocol"] == task), {})
    again = evaluate_rows(scorer, split.test, task).values if known else {}
    for metric, value in known.items():
        if value is not None:
            yield from not_reproduced(name, metric, value, again[metric], task)
