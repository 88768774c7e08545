"""What is wrong with labelled rows and their split: rows on both sides, labels that contradict, a field that tells the label.

Shapes: N rows, F fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import numpy as np

from attlas.auditing.finding import Finding, graded, percent
from attlas.data.examples import Examples
from attlas.data.split import Split
from attlas.evaluation.metrics import label_auc
from attlas.evaluation.naming import counted

TOLD = 0.99  # an AUC that no field of an honest question reaches by itself
CHANCE = 1.5  # rows may be in another part so many times more often than training rows come again, while these are few


def audit_examples(split: Split) -> list[Finding]:
    """What is wrong with a split of labelled rows, whoever learns from it.

    Rows may come again by nature, such as the same use in the same context; then they do so inside training as well. A leak is
    what a part shares with training beyond that.
    """
    checks: tuple[Callable[[Parts], Iterator[Finding]], ...] = (
        _test_in_train,
        _validation,
        _repeated,
        _contradictions,
        _unknown,
        _one_label,
        _telling_fields,
        _memory,
    )
    return [finding for check in checks for finding in check(parts_of(split))]


class Parts(NamedTuple):
    """The parts of a split of labelled rows."""

    train: Examples
    valid: Examples | None
    test: Examples


def parts_of(split: Split) -> Parts:
    """The parts of a split, which are labelled rows."""
    train, valid, test = cast("tuple[Examples, Examples | None, Examples]", (split.train, split.valid, split.test))
    return Parts(train, valid, test)


def row_keys(part: Examples, *, labelled: bool = True) -> np.ndarray:
    """A number for each row, equal where all features, their values and, if asked for, the label are, uint64[N].

    A random sum modulo 2^64: among a million rows two different ones meet about once in ten million data sets.
    """
    columns = [part.index.astype(np.uint64)]
    if part.value is not None:
        columns.append((part.value + np.float32(0)).view(np.uint32).astype(np.uint64))  # one zero, not two
    if labelled:
        columns.append(part.label[:, None].astype(np.uint64))
    cells_NC = np.concatenate(columns, axis=1)
    factors_C = np.random.default_rng(0).integers(0, 2**64, cells_NC.shape[1], np.uint64, endpoint=False) | np.uint64(1)
    keys: np.ndarray = (cells_NC * factors_C).sum(axis=1, dtype=np.uint64)
    return keys


def coming_again(part: Examples) -> float:
    """The share of rows that stand in the part a second time."""
    _, place, count = np.unique(row_keys(part), return_inverse=True, return_counts=True)
    return float((count[place] > 1).mean())


def beyond_nature(share: float, natural: float) -> float:
    """How much more of a part is known than rows come again by nature; above 0 only if it is more than chance explains.

    Args:
        share: of the part's rows that are known elsewhere.
        natural: of the training rows that come again in training. Where it is more than half, at most half of the rows that
            should be new may be known: so many times more would soon be all rows, and no leak would show.
    """
    return share - min(CHANCE * natural, (1 + natural) / 2)


def _test_in_train(split: Parts) -> Iterator[Finding]:
    is_known = np.isin(row_keys(split.test), row_keys(split.train))
    share, natural = float(is_known.mean()), coming_again(split.train)
    if is_known.any():
        beyond = beyond_nature(share, natural)
        yield Finding(
            "test-in-train",
            graded(beyond, warning=1e-3, error=0.01),
            "split",
            f"{counted(int(is_known.sum()), 'test row')} ({percent(share)}) are in training with every field and the label; "
            f"{percent(natural)} of the training rows come again in training",
            share,
            "whatever remembers its training predicts them without an error",
            "take these rows out of training, or merge equal rows before splitting",
        )


def _validation(split: Parts) -> Iterator[Finding]:
    valid = split.valid
    if valid is None or not len(valid):
        yield Finding(
            "no-validation",
            "info",
            "split",
            "there is no validation part",
            0.0,
            "settings or epochs chosen by the test make its number too good, nobody knows by how much",
            "split with one, or fix every setting beforehand",
        )
        return
    natural = coming_again(split.train)
    of_test = np.isin(row_keys(split.test), row_keys(valid))
    if of_test.any():
        share = float(of_test.mean())
        yield Finding(
            "validation-is-test",
            graded(beyond_nature(share, natural), warning=1e-3, error=0.01),
            "split",
            f"{counted(int(of_test.sum()), 'test row')} ({percent(share)}) are validation rows too, label and all",
            share,
            "early stopping on them chooses by the test, and its number is too good",
            "cut validation from training, and the test from neither",
        )
    in_train = np.isin(row_keys(valid), row_keys(split.train))
    if in_train.any():
        share = float(in_train.mean())
        yield Finding(
            "validation-in-train",
            graded(beyond_nature(share, natural), warning=1e-3, error=0.5),
            "split",
            f"{counted(int(in_train.sum()), 'validation row')} ({percent(share)}) are in training too",
            share,
            "rows that are learned by heart say when to stop, and say it too late",
            "take these rows out of training",
        )


def _repeated(split: Parts) -> Iterator[Finding]:
    for part, called in ((split.train, "training"), (split.test, "test")):
        key_N = row_keys(part)
        extra = len(key_N) - len(np.unique(key_N))
        if extra:
            share = extra / len(key_N)
            yield Finding(
                f"repeated-{called}-rows",
                graded(share, warning=0.1),
                "split",
                f"{counted(extra, f'{called} row')} ({percent(share)}) repeat another in every field and the label",
                share,
                f"they weigh double in {'training' if called == 'training' else 'the metric'}",
                "if a row is one event, fine; if files were joined twice, merge equal rows before splitting",
            )


def _contradictions(split: Parts) -> Iterator[Finding]:
    part = split.train
    _, place = np.unique(row_keys(part, labelled=False), return_inverse=True)
    ones, rows = np.bincount(place, weights=part.label > 0), np.bincount(place)
    both = (ones > 0) & (ones < rows)
    if not both.any():
        return
    share, lost = float(rows[both].sum() / len(part)), float(np.minimum(ones, rows - ones).sum() / len(part))
    yield Finding(
        "contradictory-labels",
        graded(share, warning=0.01),
        "split",
        f"{counted(int(rows[both].sum()), 'training row')} ({percent(share)}) have the fields of another and not its label",
        share,
        f"no model of these fields is right about more than {percent(1 - lost)} of the training rows",
        "if negatives were drawn, draw none that is a positive; else add the field that tells these rows apart",
    )


def _unknown(split: Parts) -> Iterator[Finding]:
    features = split.train.features
    is_unknown_NF = split.test.index == features.unknown
    is_unknown_N = is_unknown_NF.any(axis=1)
    if not is_unknown_N.any():
        return
    share, of_field = float(is_unknown_N.mean()), is_unknown_NF.mean(axis=0)
    worst = np.argsort(-of_field, kind="stable")[:3]
    said = ", ".join(f"{features.names[place]} {percent(float(of_field[place]))}" for place in worst if of_field[place] > 0)
    yield Finding(
        "unknown-categories",
        graded(share, warning=0.05),
        "split",
        f"{counted(int(is_unknown_N.sum()), 'test row')} ({percent(share)}) hold a category that training has not: {said}",
        share,
        "models take the field's unknown, which stands for what they know least",
        "report the metric with and without these rows; put rare categories together before splitting",
    )


def _one_label(split: Parts) -> Iterator[Finding]:
    parts = {"training": split.train, "validation": split.valid, "test": split.test}
    for called, part in parts.items():
        if part is not None and len(part) and len(np.unique(part.label)) == 1:
            yield Finding(
                "one-label",
                "error",
                called,
                f"every {called} row has the label {part.label[0]:g}",
                1.0,
                "there is nothing to tell apart: the AUC is not defined, and a constant has no error",
                "look at how labels were made, or draw negatives: attlas.data.labelling",
            )


def _telling_fields(split: Parts) -> Iterator[Finding]:
    told = {name: _alone(split, place) for place, name in enumerate(split.train.features.names)}
    best = max(told, key=lambda name: told[name])
    for name, auc in told.items():
        if auc > TOLD:
            yield Finding(
                "telling-field",
                "error",
                name,
                f"field {name!r} alone has an AUC of {auc:.4f} on the test part",
                auc,
                "every model that reads it looks perfect, and will not be where the label is not known yet",
                "leave the field out if it is known only after the label",
            )
    if told[best] <= TOLD:
        yield Finding(
            "best-field",
            "info",
            best,
            f"the mean label of each category of {best!r} has an AUC of {told[best]:.4f} on the test part, the most of any",
            told[best],
            "a model has to be above this to have learned anything about how fields go together",
            "hold models against it: attlas compare does",
        )


def _alone(split: Parts, place: int) -> float:
    """The AUC on the test part of what training says of one field's categories, or of a number itself, either way round."""
    train, test, features = split.train, split.test, split.train.features
    if len(np.unique(test.label)) < 2:
        return 0.5
    if features.fields[place].kind == "number" and test.value is not None:
        auc = label_auc(test.label, test.value[:, place])
        return max(auc, 1 - auc)
    width = max(int(train.index[:, place].max()), int(test.index[:, place].max())) + 1
    rows = np.bincount(train.index[:, place], minlength=width)
    ones = np.bincount(train.index[:, place], weights=train.label > 0, minlength=width)
    mean = float((train.label > 0).mean())
    return label_auc(test.label, ((ones + mean) / (rows + 1))[test.index[:, place]])


def _memory(split: Parts) -> Iterator[Finding]:
    """How far one gets by knowing which pairs of user and item were positive in training."""
    train, test = split.train, split.test
    if len(np.unique(test.label)) < 2:
        return
    seen = train.chosen
    user, item = test.ids("user"), test.ids("item")
    is_known = (user < len(train.users)) & (item < len(train.items))
    cell, known = user * len(train.items) + item, seen.user * len(train.items) + seen.item
    is_seen = is_known & np.isin(cell, known)
    share = float(is_seen[test.label > 0].mean())
    if share > 0:
        auc = label_auc(test.label, is_seen.astype(np.float32))
        yield Finding(
            "remembered-pairs",
            "info",
            "split",
            f"{percent(share)} of the positive test rows are of a user and an item that training has as positive, in some "
            "context",
            share,
            f"knowing these pairs and nothing else has an AUC of {auc:.4f}",
            "say so beside the numbers; split by pairs of user and item to ask for more",
        )
