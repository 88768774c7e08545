"""What is wrong with the candidates that test rows are ranked against.

Shapes: N test rows, C candidates of each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attlas.auditing.finding import Finding, graded, percent
from attlas.auditing.measuring import Bench, Figures
from attlas.data.split import Split
from attlas.evaluation.naming import counted

FEW = 0.5  # of the catalogue; lists that are longer say about what the catalogue says


def of_candidates(bench: Bench) -> Iterator[Finding]:
    """The held-out item or known ones among the candidates, repetition, items never trained on, and lists that are short."""
    if bench.is_rating or bench.split.candidates is None or not bench.split.candidates.size:
        return
    yield from _own_item(bench)
    yield from _seen(bench)
    yield from _repeated(bench)
    yield from _untrained(bench)
    yield from _short(bench)


def _own_item(bench: Bench) -> Iterator[Finding]:
    split, candidates = bench.split, bench.split.candidates
    assert candidates is not None
    is_own_N = (candidates == split.test.item[:, None]).any(axis=1)
    count, share = int(is_own_N.sum()), float(is_own_N.mean())
    if count:
        yield Finding(
            "held-out-among-negatives",
            graded(share, warning=1e-3),
            "candidates",
            f"{counted(count, 'test row')} ({percent(share)}) list their own held-out item among their candidates",
            share,
            bench.told("ncf", "without these rows", kept=~is_own_N)
            or "every row does; elsewhere the item would tie with itself and be given another place",
            "attlas counts the item once; code that does not ranks it against itself: take it out of the files",
        )


def _seen(bench: Bench) -> Iterator[Finding]:
    split, candidates = bench.split, bench.split.candidates
    assert candidates is not None
    known = [part.user * len(part.items) + part.item for part in (split.train, split.valid) if part is not None]
    is_seen_NC = np.isin(split.test.user[:, None] * len(split.test.items) + candidates, np.concatenate(known))
    is_seen_NC &= candidates != split.test.item[:, None]
    count, share = int(is_seen_NC.sum()), float(is_seen_NC.mean())
    if not count:
        return
    rows = int(is_seen_NC.any(axis=1).sum())
    before, after = bench.all_rows("ncf"), bench.figures("ncf-clean")
    change = before.to(after, "without them, as ncf-clean ranks") if before else None
    yield Finding(
        "seen-negatives",
        graded(share, warning=1e-3),
        "candidates",
        f"{count:,} of the {counted(candidates.size, 'candidate')} ({percent(share)}) are items that the user has chosen in "
        f"training or validation, in {counted(rows, 'list')}",
        share,
        f"{bench.name}: {change}" if change else None,
        "a good model ranks them first and loses by it: report ncf-clean beside ncf, and never compare the two",
    )


def _repeated(bench: Bench) -> Iterator[Finding]:
    candidates = bench.split.candidates
    assert candidates is not None
    ordered = np.sort(candidates, axis=1)
    is_again_NC = ordered[:, 1:] == ordered[:, :-1]
    share = float(is_again_NC.sum() / candidates.size)
    if share:
        yield Finding(
            "repeated-negatives",
            graded(share, warning=0.01),
            "candidates",
            f"{counted(int(is_again_NC.sum()), 'candidate')} ({percent(share)}) stand twice in their list",
            share,
            f"attlas counts each once, so that a row is ranked against {percent(share)} fewer items than the list is long",
            "draw without replacement",
        )


def _untrained(bench: Bench) -> Iterator[Finding]:
    split, candidates = bench.split, bench.split.candidates
    assert candidates is not None
    is_untrained = np.diff(split.train.by_item.indptr) == 0
    share = float(is_untrained[candidates].mean())
    if share:
        yield Finding(
            "untrained-candidates",
            "info",
            "candidates",
            f"{percent(share)} of the candidates are items without any training row",
            share,
            bench.told("ncf", "with them last", without=is_untrained),
            "audit the trained model too: how it scores what it has never seen may decide its number",
        )


def _short(bench: Bench) -> Iterator[Finding]:
    split = bench.split
    assert split.candidates is not None
    share = split.candidates.shape[1] / len(split.train.items)
    if share < FEW:
        sampled, full = bench.all_rows("ncf"), bench.all_rows("full")
        yield Finding(
            "sampled-candidates",
            "info",
            "candidates",
            f"each row is ranked against {counted(split.candidates.shape[1], 'candidate')} of {len(split.train.items):,} items",
            share,
            f"{bench.name}: {_side_by_side(sampled, full)}" if sampled and full else None,
            "sampled metrics may order models another way: report full beside them",
        )


def _side_by_side(sampled: Figures, full: Figures) -> str:
    both = {name: (value, full.values[name]) for name, value in sampled.values.items()}
    return ", ".join(f"{name} {one:.4f} ({sampled.whose}), {other:.4f} ({full.whose})" for name, (one, other) in both.items())


def is_sampled(split: Split) -> bool:
    """Whether a split ranks against fewer candidates than half the catalogue."""
    return split.candidates is not None and split.candidates.shape[1] < FEW * len(split.train.items)
