"""Splits that were published as files: which files they are, and what they hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from attlas.data.interactions import Interactions
from attlas.data.readers import bulk_index, read_given_rows, read_negatives
from attlas.data.vocabulary import Vocabulary


def given_files(folder: Path) -> dict[str, Path]:
    """The files of a split by what they hold: train, test and perhaps negative; none where a folder has no whole split."""
    children = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    names = {child.name.removesuffix(".gz"): child for child in children}  # a plain file stands for a packed one beside it
    trains = [name for name in names if name.endswith(".train.rating")]
    if len(trains) == 1:
        stem = trains[0].removesuffix(".train.rating")
        wanted = {"train": trains[0], "test": f"{stem}.test.rating", "negative": f"{stem}.test.negative"}
    else:
        stem = next((stem for stem in ("{}.txt", "{}ingdata.txt") if stem.format("train") in names), "")
        wanted = {"train": stem.format("train"), "test": "testdata.txt" if "ing" in stem else "test.txt"}
    found = {part: names[name] for part, name in wanted.items() if name in names}
    return found if {"train", "test"} <= set(found) else {}


def given_parts(train: Path, test: Path, negative: Path | None = None) -> tuple[Interactions, Interactions, np.ndarray | None]:
    """Training rows, test rows and perhaps the candidates of each test row, int64[N, C], all with one pair of vocabularies."""
    parts = [read_given_rows(train), read_given_rows(test)]
    listed = read_negatives(negative, parts[1]) if negative else pl.DataFrame({"none": []}, schema={"none": pl.String})
    candidate = listed.unpivot()["value"]
    users = _numbered([part.users.ids for part in parts], "user")
    items = _numbered([*(part.items.ids for part in parts), candidate], "item")
    for place, part in enumerate(parts):
        user, item = bulk_index(part.users.ids, users)[part.user], bulk_index(part.items.ids, items)[part.item]
        parts[place] = replace(part, users=users, items=items, user=user, item=item)
    candidates = np.ascontiguousarray(bulk_index(candidate, items).reshape(listed.width, -1).T)
    return parts[0], parts[1], candidates if negative else None


def _numbered(ids: list[pl.Series], noun: str) -> Vocabulary:
    known = pl.concat([part.alias("id") for part in ids]).unique(maintain_order=True)
    numbers = known.cast(pl.Int64, strict=False)
    return Vocabulary(known if numbers.null_count() else known.gather(numbers.arg_sort()), noun=noun)
