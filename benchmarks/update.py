"""What an update costs beside a new fit: NDCG@10 and seconds of a model that is stale, updated, and fitted anew.

The rows of a public set in the order of time, every rating a choice: a model is fitted to the first 90 %. Of the rest, the last
fifth of each user's rows is ranked, for users who have two or more there; all else comes in by five updates. The new fit sees
the first 90 % and all that came in. Both fits take ten epochs, chosen by nobody: it is the gap that counts here. All three rank
with what was chosen before hidden; the stale model knows no new item, and answers new users with what is popular.

What stands in results/update.jsonl for the same set and model is left out. A line marked void was disturbed by other processes:
its seconds mean nothing, its NDCG does.

ATTLAS_DATA=... python benchmarks/update.py ml-100k [MODEL ...]
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
import numpy as np
import polars as pl
from machine import RESULTS, Spell, data_folder, peak_mib, record

from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.recommender import Recommender
from attlas.runner import fit

FILES = {"ml-100k": "u.data.gz", "ml-latest-small": "ratings.csv.gz"}
FIRST, HELD = 0.9, 0.2
UPDATES = 5
K = 10
EPOCHS = 10
DRAWS = 10_000  # of the bootstrap over users
# What differs from a model's defaults: settings that suit sets of a hundred thousand rows.
TABLES: dict[str, dict[str, Any]] = {
    name: {"solver": {"learning_rate": 0.005, "batch_size": 2048}}
    for name in ("gmf", "mlp", "neumf", "fism", "nais", "delf", "drnet", "dacr", "deepcf", "fm", "nfm", "deepfm", "afm")
}
ASKED = ("popularity", "itemknn", "ease", "slim", "ials", "eals", "expomf", "fawmf", "mf", "neumf", "fism", "nais", "delf")
ASKED += ("drnet", "dacr", "deepcf", "fm")


def parts_of(name: str) -> list[pl.DataFrame]:
    """Rows in the order of time: to fit, to stream in, and to rank."""
    data = attlas.read(data_folder() / name / FILES[name])
    frame = data.to_frame().with_columns(user="u" + pl.col("user").cast(pl.String), item="i" + pl.col("item").cast(pl.String))
    rows = frame.sort("time", maintain_order=True).select("user", "item", "time")
    cut = int(FIRST * len(rows))
    later = rows[cut:].with_columns(place=pl.int_range(pl.len()).over("user"), count=pl.len().over("user"))
    held = pl.col("count").gt(1) & (pl.col("place") >= pl.col("count") - (pl.col("count") * HELD).floor().clip(1))
    return [rows[:cut], *(later.filter(which).select(rows.columns) for which in (~held, held))]


def interactions_of(frame: pl.DataFrame) -> Interactions:
    """Rows with vocabularies of their own."""
    return Interactions.of(frame["user"], frame["item"], time=frame["time"])


def fitted(name: str, frame: pl.DataFrame) -> Recommender:
    """A model fitted to all rows; a pair that is not among them stands for the test part, which nobody looks at."""
    known = interactions_of(frame)
    item = np.setdiff1d(np.arange(len(known.items)), known.by_user[[0]].indices)[:1]
    nothing = Interactions(known.users, known.items, np.zeros(1, np.int64), item, time=np.zeros(1, np.int64))
    made = fit(Split(known, None, nothing, "first rows"), name, **TABLES.get(name, {}), epochs=EPOCHS)
    return Recommender(made.model, made.inputs, card=made.card)


def ndcg(recommender: Recommender, before: pl.DataFrame, asked: pl.DataFrame) -> dict[str, float]:
    """NDCG@10 of each user's later items, with everything before hidden."""
    users = asked["user"].unique(maintain_order=True).to_list()
    chosen = dict(before.group_by("user").agg("item").iter_rows())
    most = max((len(chosen.get(user, ())) for user in users), default=0)
    frame = recommender.recommend(users, K + most, unknown="popular")
    listed = dict(frame.group_by("user", maintain_order=True).agg("item").iter_rows())
    wanted = dict(asked.group_by("user").agg("item").iter_rows())
    gains = 1 / np.log2(np.arange(2, K + 2))
    found = {}
    for user in users:
        hidden, targets = set(chosen.get(user, ())), set(wanted[user])
        items = [item for item in listed.get(user, ()) if item not in hidden][:K]
        hits = np.array([item in targets for item in items], bool)
        found[user] = float(gains[: len(items)][hits].sum() / gains[: min(K, len(targets))].sum())
    return found


def measured(data: str, name: str, parts: list[pl.DataFrame]) -> dict[str, Any]:
    """The line of one model."""
    updated = stale = fitted(name, parts[0])
    cuts = np.linspace(0, len(parts[1]), UPDATES + 1).astype(int).tolist()
    with Spell() as update:
        for first, last in itertools.pairwise(cuts):
            updated = updated.update(parts[1][first:last])
    before = pl.concat(parts[:2])
    with Spell() as refit:
        anew = fitted(name, before)
    known = parts[2].join(before.select("user").unique(), on="user", how="semi", maintain_order="left")
    asked = known.join(before.select("item").unique(), on="item", how="semi").join(before, on=["user", "item"], how="anti")
    values = {who: ndcg(made, before, asked) for who, made in (("stale", stale), ("updated", updated), ("refitted", anew))}
    old = set(parts[0]["user"])
    is_new = {user: user not in old for user in values["stale"]}
    gap = np.array(list(values["refitted"].values())) - np.array(list(values["updated"].values()))
    drawn = np.random.default_rng(1).integers(0, len(gap), (DRAWS, len(gap)))
    told = updated.card["updates"]
    return {
        "data": data,
        "what": name,
        "settings": stale.card["model"]["config"] | {"solver": stale.card["experiment"]["solver"]},
        "epochs": stale.card["training"]["epochs"],
        "ndcg@10": {who: round(float(np.mean(list(found.values()))), 5) for who, found in values.items()},
        "of_new_users": {who: _mean(found, is_new) for who, found in values.items()},
        "gap_to_refit": round(float(gap.mean()), 5),
        "interval": [round(float(end), 5) for end in np.quantile(gap[drawn].mean(1), (0.025, 0.975))],
        "users": len(is_new),
        "new_users": sum(is_new.values()),
        "rows": sum(one["rows"] for one in told),
        "came": {noun: sum(one[noun] for one in told) for noun in ("new_users", "new_items")},
        "ways": [told[-1]["user_way"], told[-1]["item_way"]],
        "updates": UPDATES,
        "update": update.facts(),
        "refit": refit.facts(),
        "peak_mib": peak_mib(),
    }


def _mean(found: dict[str, float], is_new: dict[str, bool]) -> float | None:
    values = [value for user, value in found.items() if is_new[user]]
    return round(float(np.mean(values)), 5) if values else None


def is_done(data: str, name: str) -> bool:
    """Whether this line has been written."""
    path = RESULTS / "update.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return any((line["data"], line["what"]) == (data, name) for line in lines)


def main(data: str, names: list[str]) -> None:
    """A line a model."""
    parts = parts_of(data)
    for name in names or ASKED:
        if is_done(data, name):
            print(f"{data}, {name}: done before")
            continue
        record("update", [measured(data, name, parts)])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
