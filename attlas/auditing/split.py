"""What is wrong with a split: test rows that training cannot know or knows already, and validation that is the test.

Shapes: N test rows, U users, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from attlas.auditing.candidates import of_candidates
from attlas.auditing.finding import Finding, graded, percent
from attlas.auditing.measuring import Bench, popular, usual_codes
from attlas.auditing.order import of_order
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.evaluation.naming import counted
from attlas.evaluation.protocols import Scorer
from attlas.telling import Teller

CAPPED = 0.2  # so many users with the longest history of all do not meet by chance


def audit_split(
    split: Split, *, scorer: Scorer | None = None, name: str = "model", codes: tuple[str, ...] = (), tell: Teller | None = None
) -> list[Finding]:
    """What is wrong with a split, of attlas or given as files.

    Args:
        scorer: whose metric the effects tell; None takes popularity.
        name: what the scorer is called.
        codes: protocols of the effects; none means full, and ncf where candidates are given; ``rating`` alone tells
            what changes in the error of ratings, and nothing where the scorer predicts none.
        tell: shows bars.
    """
    bench = Bench(
        scorer or popular(split.train),
        split,
        usual_codes(split, codes),
        name=name if scorer else "popularity",
        tell=tell or Teller(),
    )
    return of_split(bench)


def of_split(bench: Bench) -> list[Finding]:
    """What is wrong with a bench's split."""
    checks: tuple[Callable[[Bench], Iterator[Finding]], ...] = (
        _test_in_train,
        _validation,
        _repeated_test,
        _cold,
        _left_aside,
        of_candidates,
        of_order,
        _cut_histories,
    )
    return [finding for check in checks for finding in check(bench)]


def cells(part: Interactions) -> np.ndarray:
    """One number per row, equal where user and item are, int64[N]."""
    return part.user * len(part.items) + part.item


def _test_in_train(bench: Bench) -> Iterator[Finding]:
    split = bench.split
    parts = [part for part in (split.train, split.given) if part is not None]
    is_known = np.isin(cells(split.test), np.concatenate([cells(part) for part in parts]))
    count, share = int(is_known.sum()), float(is_known.mean())
    if not count:
        return
    counted_in = [code for code in bench.codes if code in ("ncf", "rating")]
    told = [bench.told(code, "without them", kept=~is_known) for code in counted_in]
    yield Finding(
        "test-in-train",
        graded(share, warning=0, error=0.01),
        "split",
        f"{counted(count, 'test row')} ({percent(share)}) are pairs of user and item that training holds",
        share,
        "; ".join(each for each in told if each)
        or (
            "whatever remembers its training knows them"
            if bench.is_rating
            else f"full leaves them out and measures {_left(is_known)} rows; a protocol that hides nothing counts them, and "
            "whatever remembers its training finds them"
        ),
        "take these pairs out of training; if the rows repeat, merge them before splitting",
    )


def _validation(bench: Bench) -> Iterator[Finding]:
    split = bench.split
    if split.valid is None or not len(split.valid):
        yield Finding(
            "no-validation",
            "info",
            "split",
            "there is no validation part",
            0.0,
            "settings or epochs chosen by the test make its number too high, nobody knows by how much",
            "split with one, or fix every setting beforehand",
        )
        return
    of_test = np.isin(cells(split.test), cells(split.valid))
    if of_test.any():
        share = float(of_test.mean())
        yield Finding(
            "validation-is-test",
            graded(share, warning=0, error=0.01),
            "split",
            f"{counted(int(of_test.sum()), 'test row')} ({percent(share)}) are validation rows too",
            share,
            "early stopping on them chooses by the test, and its number is too good"
            + ("" if bench.is_rating else f"; full hides them as seen: {_left(of_test)} test rows are left to rank"),
            "cut validation from training: read_split(folder, validation='leave-last-out')",
        )
    in_train = np.isin(cells(split.valid), cells(split.train))
    if in_train.any():
        share = float(in_train.mean())
        yield Finding(
            "validation-in-train",
            graded(share, warning=0, error=0.5),
            "split",
            f"{counted(int(in_train.sum()), 'validation row')} ({percent(share)}) are in training too",
            share,
            "rows that are learned by heart say when to stop, and say it too late"
            if bench.is_rating
            else f"full hides them as seen: {_left(in_train)} rows decide when to stop",
            "take these pairs out of training",
        )


def _left(is_hidden_N: np.ndarray) -> str:
    return f"{int((~is_hidden_N).sum()):,} of {len(is_hidden_N):,}"


def _repeated_test(bench: Bench) -> Iterator[Finding]:
    for part, called in ((bench.split.train, "training"), (bench.split.test, "test")):
        cell = cells(part)
        extra = len(cell) - len(np.unique(cell))
        if extra:
            once = "weigh double in the error" if bench.is_rating else "count once under full, twice against candidates"
            what = "weigh double in training" if called == "training" else once
            yield Finding(
                f"repeated-{called}-rows",
                graded(extra / len(cell), warning=1e-3),
                "split",
                f"{counted(extra, f'{called} row')} ({percent(extra / len(cell))}) repeat a pair of another",
                extra / len(cell),
                f"they {what}",
                "merge them before splitting: data.without_repeats()",
            )


def _cold(bench: Bench) -> Iterator[Finding]:
    split = bench.split
    knows_item = np.diff(split.train.by_item.indptr) > 0
    known = split.train if split.given is None else split.given
    knows_user = np.diff(known.by_user.indptr) > 0
    sides = {
        "item": (~knows_item[split.test.item], "score them by a start that nothing has taught"),
        "user": (~knows_user[split.test.user], "answer them with what is popular, or with noise"),
    }
    for side, (is_cold, deed) in sides.items():
        count, share = int(is_cold.sum()), float(is_cold.mean())
        if count:
            yield Finding(
                f"cold-test-{side}s",
                graded(share, warning=0.01),
                "split",
                f"{counted(count, 'test row')} ({percent(share)}) are of {side}s without any training row",
                share,
                bench.change("without them", kept=~is_cold)
                or (None if bench.is_rating else "nothing but these rows could be ranked"),
                f"models {deed}: report the metric with and without these rows, or split with keep_cold=False",
            )


def _left_aside(bench: Bench) -> Iterator[Finding]:
    aside = sum(bench.split.dropped.values())
    if aside:
        held = aside + len(bench.split.test) + len(bench.split.valid if bench.split.valid is not None else ())
        yield Finding(
            "cold-rows-left-aside",
            graded(aside / held, warning=0.5),
            "split",
            f"{counted(aside, 'held-out row')} ({percent(aside / held)}) were left aside, their user or item being cold",
            aside / held,
            "the metric is of what training knows"
            + ("" if bench.is_rating else "; counted as misses, they would lower hr and recall by that share"),
            "say so beside the number; keep_cold=True keeps them",
        )


def _cut_histories(bench: Bench) -> Iterator[Finding]:
    length = np.diff(bench.split.train.by_user.indptr)
    length = length[length > 0]
    longest, share = int(length.max()), float((length == length.max()).mean())
    near = np.sort(length)[-max(1, round(CAPPED * len(length)))]
    if longest > 10 and longest - near <= 1 and len(length) >= 20:
        yield Finding(
            "cut-histories",
            "info",
            "split",
            f"{percent(CAPPED)} of the users or more have the longest history of all, {longest:,} entries or one less "
            f"({percent(share)} exactly): the data were cut there",
            share,
            None
            if bench.is_rating
            else "what was cut off are false negatives: chosen items that are ranked and drawn as if they had not been chosen",
            "learn from the uncut data if they are to be had, or say so beside the number",
        )
