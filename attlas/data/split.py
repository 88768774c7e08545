"""One data set -> train, validation and test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from attlas.data.given import given_files, given_parts
from attlas.data.interactions import Interactions
from attlas.data.readers import with_facts
from attlas.errors import ConfigError, DataError, nearest

LEAVE_ONE_OUT = {"leave-last-out": "last", "leave-random-out": "random"}
RATIOS = {
    "user-ratio": ("user", "random"),
    "user-time": ("user", "time"),
    "global-ratio": ("global", "random"),
    "global-time": ("global", "time"),
}
STRANGERS = {"held-out-users": "random", "held-out-users-time": "time"}
CODES = ("auto", *LEAVE_ONE_OUT, *RATIOS, *STRANGERS)


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint parts of one data set that share one pair of vocabularies.

    Attributes:
        train: what a model may learn from.
        valid: what settings and the number of epochs are chosen by, or None.
        test: what is reported, once.
        code: how it was made, in a few characters, for instance ``leave-last-out``.
        candidates: int64[N, C], the items that each of the N test rows is ranked against (given files only), or None.
        dropped: how many rows were left aside for which reason.
        given: where users were held out whole, the rows by which those of validation and test are known; None elsewhere.
    """

    train: Interactions
    valid: Interactions | None
    test: Interactions
    code: str
    candidates: np.ndarray | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    given: Interactions | None = None


def split(
    data: Interactions,
    code: str = "auto",
    seed: int = 1,
    *,
    test: float | None = None,
    valid: float | None = None,
    keep_cold: bool = False,
) -> Split:
    """Split by the short code of a way to split.

    Args:
        code: one of ``CODES``; ``auto`` is ``global-time`` where times are known, else ``user-ratio``.
        seed: what random orders depend on.
        test, valid: fractions in 0..1 of the rows, or of the users where users are held out, for the codes that take a share
            (default 0.1 each); ``valid=0`` makes no validation part, for every code.
        keep_cold: keep held-out rows whose user or item has no training row.
    """
    if code == "auto":
        code = "user-ratio" if data.time is None else "global-time"
    if code in LEAVE_ONE_OUT:
        if test is not None or valid:
            raise ConfigError(
                f"split {code!r} holds out one row per user and takes no fraction; leave test and valid out, or valid=0"
            )
        return leave_one_out(data, order=LEAVE_ONE_OUT[code], seed=seed, validation=valid != 0, keep_cold=keep_cold)
    if code not in CODES:
        raise ConfigError(f"there is no split {code!r}; {nearest(code, CODES)}")
    shares = {name: share for name, share in (("test", test), ("valid", valid)) if share is not None}
    if code in STRANGERS:
        return hold_out_users(data, order=STRANGERS[code], seed=seed, keep_cold=keep_cold, **shares)
    scope, order = RATIOS[code]
    return by_ratio(data, scope=scope, order=order, seed=seed, keep_cold=keep_cold, **shares)


def leave_one_out(
    data: Interactions, *, order: str = "last", seed: int = 1, validation: bool = True, keep_cold: bool = False
) -> Split:
    """One row of each user for the test, one more for validation.

    A user's only row is for training; of two, one is for the test.

    Args:
        order: ``last`` takes the latest rows (of equal times the later row), ``random`` takes any.
        seed: what the random order depends on.
        validation: whether to hold out a second row of each user with three or more.
        keep_cold: keep held-out rows whose user or item has no training row.

    Raises:
        ConfigError: ``order="last"`` for data without times.
        DataError: no user has two rows.
    """
    _check_option("order", order, LEAVE_ONE_OUT.values())
    from_end, size = _places_from_end(data, data.user, order, seed)
    is_test = (from_end == 0) & (size >= 2)
    is_valid = (from_end == 1) & (size >= 3) & validation
    return _parts(data, is_test, is_valid, f"leave-{order}-out", keep_cold=keep_cold)


def by_ratio(
    data: Interactions,
    *,
    scope: str = "user",
    order: str = "random",
    test: float = 0.1,
    valid: float = 0.1,
    seed: int = 1,
    keep_cold: bool = False,
) -> Split:
    """A share of the rows for the test and a share for validation; at least one row stays for training.

    Args:
        scope: ``user`` takes the share of each user's rows (rounded to the nearest whole row), ``global`` of all rows together.
        order: ``time`` takes the latest rows for the test and those before them for validation, ``random`` takes any.
        test, valid: fractions in 0..1; ``valid=0`` makes no validation part.
        seed: what the random order depends on.
        keep_cold: keep held-out rows whose user or item has no training row.

    Raises:
        ConfigError: fractions that leave nothing to train on, or ``order="time"`` for data without times.
        DataError: there are too few rows for a test part.
    """
    _check_option("scope", scope, ("user", "global"))
    _check_option("order", order, ("random", "time"))
    _check_shares(test, valid)
    group = data.user if scope == "user" else np.zeros(len(data), np.int64)
    from_end, size = _places_from_end(data, group, order, seed)
    num_test = np.minimum(_rounded(size * test), size - 1)
    num_held = np.minimum(_rounded(size * (test + valid)), size - 1)
    is_test = from_end < num_test
    is_valid = ~is_test & (from_end < num_held)
    code = f"{scope}-time" if order == "time" else f"{scope}-ratio"
    return _parts(data, is_test, is_valid & (valid > 0), code, keep_cold=keep_cold)


def hold_out_users(
    data: Interactions,
    *,
    order: str = "random",
    given: float = 0.8,
    test: float = 0.1,
    valid: float = 0.1,
    seed: int = 1,
    keep_cold: bool = False,
) -> Split:
    """Strong generalisation: a share of the users is held out whole, so that training has no row of theirs.

    Of each of them some rows are given, by which a model may know them, and the rest are to be ranked. Users with one row
    stay in training.

    Args:
        order: which rows are given: ``random`` any (Liang et al. 2018), ``time`` the earliest.
        given: the fraction of a held-out user's rows, in 0..1, that is given: at least one, and never all.
        test, valid: fractions in 0..1 of the users with two rows or more; ``valid=0`` makes no validation part.
        seed: what the drawing of users and the random order depend on.
        keep_cold: keep given and held-out rows whose item has no training row.

    Raises:
        ConfigError: fractions that leave nobody to train on, or ``order="time"`` for data without times.
        DataError: there are too few users for a test part.
    """
    _check_option("order", order, STRANGERS.values())
    _check_shares(test, valid)
    if not 0 < given < 1:
        raise ConfigError(f"given={given}: expected a fraction between 0 and 1 of each held-out user's rows")
    from_end, size = _places_from_end(data, data.user, order, seed)
    is_ranked = from_end < np.clip(_rounded(size * (1 - given)), 1, size - 1)
    able = np.random.default_rng([seed, 1]).permutation(np.unique(data.user[size >= 2]))
    tested, validated, _ = np.split(able, _rounded(len(able) * np.array([test, test + valid])).astype(int))
    of_test, of_valid = np.isin(data.user, tested), np.isin(data.user, validated)
    code = next(code for code, known in STRANGERS.items() if known == order)
    is_given = (of_test | of_valid) & ~is_ranked
    return _parts(data, of_test & is_ranked, of_valid & is_ranked, code, keep_cold=keep_cold, is_given=is_given)


def hold_out_one(train: Interactions, *, order: str, seed: int = 1) -> tuple[Interactions, Interactions]:
    """Training rows less one row of each user with two or more, and those rows.

    Where all rows of an item would be held out, its first stays in training: a given training set loses no item.
    """
    _check_option("order", order, LEAVE_ONE_OUT.values())
    from_end, size = _places_from_end(train, train.user, order, seed)
    is_valid = (from_end == 0) & (size >= 2)
    knows_item = np.bincount(train.item[~is_valid], minlength=len(train.items)) > 0
    unknown = np.flatnonzero(is_valid & ~knows_item[train.item])
    is_valid[unknown[np.unique(train.item[unknown], return_index=True)[1]]] = False
    return train.take(~is_valid), train.take(is_valid)


def _places_from_end(data: Interactions, group: np.ndarray, order: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each row its place in its group counted from the last one, 0.., and the number of rows in its group."""
    rows = np.arange(len(data))
    if order == "random":
        key = np.random.default_rng(seed).permutation(len(data))
    elif data.time is None:
        raise ConfigError(
            "splitting by time needs times, and this data has none; name the time column, or split at random: order='random', "
            "leave-random-out, user-ratio or global-ratio"
        )
    else:
        key = data.time
    by_group = np.lexsort((rows, key, group))
    sizes = np.bincount(group, minlength=1)
    from_end = np.empty(len(data), np.int64)
    from_end[by_group] = np.cumsum(sizes)[group[by_group]] - 1 - rows
    return from_end, sizes[group]


def _rounded(count: np.ndarray) -> np.ndarray:
    # In binary fractions 50 * 0.29 is 14.499999999999998; the small addend lets it round up as 14.5 does.
    return np.floor(count + 0.5 + 1e-9)


def _parts(
    data: Interactions, is_test: np.ndarray, is_valid: np.ndarray, code: str, *, keep_cold: bool, is_given: Any = None
) -> Split:
    held = {"test": is_test, "validation": is_valid} | ({} if is_given is None else {"given": is_given})
    is_train = ~np.any([*held.values()], axis=0)
    dropped: dict[str, int] = {}
    if not keep_cold:
        knows_item = (np.bincount(data.item[is_train], minlength=len(data.items)) > 0)[data.item]
        is_known = is_train if is_given is None else is_given & knows_item
        knows_user = (np.bincount(data.user[is_known], minlength=len(data.users)) > 0)[data.user]
        missing = "training" if is_given is None else "given"
        for part, rows in held.items():
            cold = {"items without training": rows & ~knows_item, f"users without {missing}": rows & knows_item & ~knows_user}
            dropped |= {f"{part} rows of {what} rows": int(cut.sum()) for what, cut in cold.items() if cut.any()}
            held[part] = rows & knows_item & knows_user
    if not held["test"].any():
        why = "; " + "; ".join(f"{count:,} {reason} dropped" for reason, count in dropped.items()) if dropped else ""
        raise DataError(
            f"{len(data):,} rows of {len(data.users):,} users are too few to hold out a test part by {code!r}{why}; "
            "bring more rows per user, or split another way: 'leave-last-out' or 'global-ratio'"
        )
    train, test = data.take(is_train), data.take(held["test"])
    valid = data.take(held["validation"]) if held["validation"].any() else None
    return Split(train, valid, test, code, dropped=dropped, given=None if is_given is None else data.take(held["given"]))


def _check_shares(test: float, valid: float) -> None:
    if not (0 < test < 1 and 0 <= valid < 1 and test + valid < 1):
        raise ConfigError(
            f"test={test}, valid={valid}: expected fractions with test above 0, valid not below 0 and a sum below 1"
        )


def _check_option(option: str, value: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if value not in names:
        raise ConfigError(f"{option}={value!r} is not known; {nearest(value, names)}")


def looks_like_split(folder: str | Path) -> bool:
    """Whether a folder holds files that ``read_split`` reads."""
    return Path(folder).is_dir() and bool(given_files(Path(folder)))


def read_split(folder: str | Path, *, validation: str = "auto", seed: int = 1, items: Any = None) -> Split:
    """A split that was published as files: training rows, test rows and perhaps the items each test row is ranked against.

    Known are NCF's ``NAME.train.rating``, ``NAME.test.rating``, ``NAME.test.negative``, and ``train.txt``, ``test.txt`` or
    ``trainingdata.txt``, ``testdata.txt`` with rows of user, item, rating, time or with a user and all items on a line; packed
    with gzip or not. Ids are text; all-number ids are indexed in the order of the numbers.

    Args:
        validation: ``leave-last-out`` or ``leave-random-out`` cuts one row of each user from training, ``none`` cuts none;
            ``auto`` is the first where times are known, else the second.
        seed: what the random cut depends on.
        items: a path or frame with titles and other facts about the items.
    """
    _check_option("validation", validation, ("auto", "none", *LEAVE_ONE_OUT))
    found = given_files(Path(folder))
    if not found:
        raise DataError(
            f"{folder} holds no given split; expected exactly one NAME.train.rating with its NAME.test.rating, or train.txt "
            "with test.txt, packed with gzip or not"
        )
    train, test, candidates = given_parts(**found)
    if items is not None:
        train = with_facts(train, items)
        test = replace(test, items=train.items)
    if validation == "auto":
        validation = "leave-random-out" if train.time is None else "leave-last-out"
    if validation == "none":
        return Split(train, None, test, "given", candidates)
    train, valid = hold_out_one(train, order=LEAVE_ONE_OUT[validation], seed=seed)
    return Split(train, valid if len(valid) else None, test, f"given+{validation}", candidates)
