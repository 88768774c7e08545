"""What is wrong with rows before anybody splits them or learns from them."""

from __future__ import annotations

import time as clock
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from attlas.auditing.finding import Finding, Severity, graded, percent
from attlas.data.columns import interaction_header
from attlas.data.doors import open_table
from attlas.data.interactions import Interactions
from attlas.data.suspecting import Finding as Suspicion
from attlas.data.suspecting import column_suspicions, suspicions
from attlas.evaluation.naming import counted

LONG = 10  # two histories of so many entries are not the same by chance
MISLEADING = (
    "heavy-user",
    "equal-times",
    "future-times",
    "early-times",
    "items-are-users",
    "copies",
    "row-number",
    "all-distinct",
)
EFFECTS = {
    "copies": "each copy counts as one more choice; if copies are split apart, the test holds what training has seen",
    "single-users": "these users are in no metric, which is thus of the busier ones",
    "repeats": "full ranking hides what was chosen before, so that choosing again is never measured",
    "heavy-user": "one user moves what is popular, and no metric, since every user counts once",
    "equal-times": "a split by time follows the order of the rows instead",
    "future-times": "a split by time tests on these rows first",
    "early-times": "a split by time takes these rows for the oldest, and learns from them whenever they were made",
    "items-are-users": "what is measured is who knows whom, under the name of who chose what",
    "row-number": "what is seen once is learned from or held out, never both: the metric is of what nobody knows",
    "all-distinct": "what is seen once is learned from or held out, never both: the metric is of what nobody knows",
    "whole-days": "which of a day's rows is the last, and so tested, is the order of the file",
}


def audit_rows(data: Interactions) -> list[Finding]:
    """What is wrong with rows of (user, item): repetition, copies under other ids, impossible times, and lonely items."""
    if not len(data):
        return []
    found = of_suspicions(suspicions(data, now=int(clock.time())))
    return [*found, *_repeated(data), *_twins(data, "item"), *_twins(data, "user"), *_lonely(data)]


def audit_table(source: Any, separator: str | None, columns: dict[str, str], *, has_repeats: bool) -> list[Finding]:
    """What is wrong with the columns of a table as it was written.

    Args:
        source: a path or frame.
        separator: what stands between columns; None finds out.
        columns: what the user, the item, the rating and the time are called.
        has_repeats: whether pairs of user and item come again.
    """
    if sparse.issparse(source) or isinstance(source, Interactions):
        return []
    raw = open_table(source, separator, interaction_header)
    named = {role: name for role, name in columns.items() if name in raw.names}
    subject = Path(source).name if isinstance(source, str | Path) else "table"
    return of_suspicions(column_suspicions(raw.take(raw.names), named, has_repeats=has_repeats), subject)


def of_suspicions(found: Iterable[Suspicion], subject: str = "rows") -> list[Finding]:
    """What ``attlas data describe`` finds suspicious, as findings."""
    made = []
    for each in found:
        seen, _, advice = each.sentence.partition(": ")
        severity: Severity = "warning" if each.code in MISLEADING else "info"
        advice = advice or "look at the table"
        made.append(Finding(each.code, severity, subject, seen, each.size, EFFECTS.get(each.code), advice))
    return made


def _repeated(data: Interactions) -> Iterator[Finding]:
    cell = data.user * len(data.items) + data.item
    known, size = np.unique(cell, return_counts=True)
    extra = len(cell) - len(known)
    if not extra:
        return
    rows = pl.DataFrame({"cell": cell, **data.facts})
    copies = len(rows) - rows.n_unique()
    drawn = np.random.default_rng(0).random(len(cell)) < 0.1
    seen_again = float(np.isin(cell[drawn], cell[~drawn]).mean()) if drawn.any() else 0.0
    yield Finding(
        "repeated-rows",
        graded(extra / len(cell), warning=1e-3),
        "rows",
        f"{counted(extra, 'row')} ({percent(extra / len(cell))}) repeat a pair of user and item of another row, "
        f"{copies:,} of them in every fact; {counted(int((size > 1).sum()), 'pair')}",
        extra / len(cell),
        f"of a tenth held out at random, {percent(seen_again)} would be in training too, 0 % without them",
        "merge them before splitting: attlas.read does, or data.without_repeats()",
    )


def _twins(data: Interactions, side: str) -> Iterator[Finding]:
    """Items chosen by the same users, users who chose the same items: often one thing under two ids."""
    matrix = data.by_item if side == "item" else data.by_user
    length = np.diff(matrix.indptr)
    print_ = matrix @ np.random.default_rng(0).standard_normal(matrix.shape[1])  # equal sets have equal random sums
    long = np.flatnonzero(length >= LONG)
    _, place, size = np.unique(np.round(print_[long], 9), return_inverse=True, return_counts=True)
    twins = int((size[place] > 1).sum())
    if not twins:
        return
    rows = int(length[long[size[place] > 1]].sum())
    other = "user" if side == "item" else "item"
    yield Finding(
        f"twin-{side}s",
        graded(rows / len(data), warning=0.01),
        "rows",
        f"{counted(twins, side)} with {LONG} {other}s or more have exactly the same {other}s as another {side}: "
        f"{percent(rows / len(data))} of the rows",
        rows / len(data),
        f"one that is held out can be read off its twin in training, which flatters whatever compares {side}s",
        f"if they are one {side} under two ids, give them one id",
    )


def _lonely(data: Interactions) -> Iterator[Finding]:
    users = np.diff(data.by_item.indptr)
    share = float((users == 1).sum() / max((users > 0).sum(), 1))
    if share >= 0.05:
        yield Finding(
            "one-user-items",
            "info",
            "rows",
            f"{counted(int((users == 1).sum()), 'item')} ({percent(share)}) were chosen by one user only",
            share,
            "held out they are cold; in training, a model that takes a pair out of its own histories sees them empty for "
            "positives alone, and may learn that empty means chosen",
            "train with leave_out = 'matched', or keep items with more users: --min-item 2",
        )
