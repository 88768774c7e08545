"""FAWMF: a pass beside an iteration of ``implicit``'s ALS and beside all cells, as data grow, and both of its solvers.

ATTLAS_DATA=... python benchmarks/fawmf.py [pass naive growth solvers] [--plots FOLDER]

``pass`` (pip install implicit): one step of fBGD and one sweep of the alternating solver, each in turn with an iteration of
``implicit``, 64 factors and 10 communities; and seconds to the best NDCG@10 of each. ``naive``: a step of fBGD beside the same
gradients from all cells, 20 factors and 20 communities. ``growth``: the film club from 100,000 to 10 million interactions, 45 a
user and a tenth as many items as users. ``solvers``: objective and NDCG@10 against seconds, fBGD beside the alternating solver.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as implicit asks for

import attlas

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record
from scipy import sparse

from attlas.data.inputs import Inputs
from attlas.data.split import Split, read_split
from attlas.evaluation.evaluate import evaluate
from attlas.models.fawmf import FAWMF
from attlas.models.fawmf_solvers import FBGD, Alternating
from attlas.models.ials import IALS
from attlas.ops.exposure import exposed_error_reference
from attlas.scoring import Scorer

DIM, COMMUNITIES, ROUNDS, WARM = 64, 10, 12, 2
SETS = {"ml-1m-ncf": {"prior_exposure": 0.3, "l2": 0.007}, "amazon-cds": {"prior_exposure": 0.01, "l2": 0.03}}
SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)


def made(inputs: Inputs, seed: int = 1, **config: Any) -> FAWMF:
    """A model that has begun."""
    torch.manual_seed(seed)
    model = FAWMF(inputs.sizes, FAWMF.Config(**{"embedding_dim": DIM, "num_communities": COMMUNITIES} | config))
    model.begin(inputs)
    return model


def steady(spells: list[Spell]) -> dict[str, float]:
    """The medians over the spells after the first few."""
    kept = spells[WARM:]
    return {
        "wall_s": round(float(np.median([spell.wall for spell in kept])), 4),
        "cpu_s": round(float(np.median([spell.cpu for spell in kept])), 4),
        "others": round(float(np.median([spell.others for spell in kept])), 3),
    }


def quality(model: Any, inputs: Inputs, split: Split) -> float:
    """NDCG@10 against all unseen items, on the test part."""
    return round(evaluate(Scorer(model.eval(), inputs), split, "full", k=10, metrics=["ndcg"]).mean("ndcg@10"), 4)


def peer_of(inputs: Inputs) -> Any:
    """``implicit`` with settings that do well on ml-1m-ncf."""
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=DIM, regularization=30.0, alpha=5.0, iterations=ROUNDS, num_threads=2, random_state=1
    )


def of_peer(peer: Any, inputs: Inputs) -> IALS:
    """Its vectors in a model of ours, so that all are measured alike."""
    model = IALS(inputs.sizes, IALS.Config(embedding_dim=DIM))
    model.user_embedding.weight.data.copy_(torch.from_numpy(peer.user_factors))
    model.item_embedding.weight.data.copy_(torch.from_numpy(peer.item_factors))
    return model


def ours(solver: Any, model: FAWMF, inputs: Inputs, spells: list[Spell]) -> None:
    """One timed epoch."""
    with Spell() as spell:
        solver.epoch(model, inputs, np.random.default_rng(1))
    spells.append(spell)


def passes(name: str) -> dict[str, Any]:
    """One line: all three in turn, ours between two iterations of theirs, and what is reached after how many seconds."""
    split = read_split(data_folder() / name, validation="none")
    inputs = Inputs(split.train)
    peer, rivals = peer_of(inputs), {"fbgd": FBGD(), "als": Alternating()}
    models = {who: made(inputs, **SETS[name]) for who in rivals}
    spells: dict[str, list[Spell]] = {"theirs": [Spell().__enter__()], "fbgd": [], "als": []}
    best: dict[str, tuple[float, float]] = {}

    def told(*_: Any) -> None:
        spells["theirs"][-1].__exit__()
        for who, solver in rivals.items():
            ours(solver, models[who], inputs, spells[who])
        for who, model in {"theirs": of_peer(peer, inputs), **models}.items():
            reached = quality(model, inputs, split)
            if reached > best.get(who, (-1.0, 0.0))[0]:
                best[who] = reached, round(sum(spell.wall for spell in spells[who]), 2)
        spells["theirs"].append(Spell().__enter__())

    peer.fit(sparse.csr_matrix(inputs.train.by_user), show_progress=False, callback=told)
    spells["theirs"].pop()
    line: dict[str, Any] = {"data": name, "what": f"FAWMF pass, {DIM} factors, {COMMUNITIES} communities"}
    line |= {who: steady(own) for who, own in spells.items()} | {"best ndcg@10 and seconds": best}
    line["ratio"] = {who: round(line[who]["wall_s"] / line["theirs"]["wall_s"], 3) for who in rivals}
    return line | {"peak_mib": peak_mib()}


def naive_step(model: FAWMF, inputs: Inputs) -> None:
    """The same gradients from all cells, dense."""
    parts = model.tensors()
    exposure_IC = model.exposures(parts, model.evidence(parts, inputs.item_lists), inputs)
    share_UC = parts["membership.weight"].softmax(-1)
    tables = parts["user_embedding.weight"], share_UC, parts["item_embedding.weight"], exposure_IC
    error = exposed_error_reference(*tables, inputs.user_lists, model.cost())
    torch.autograd.grad(error, [part for part in parts.values() if part.requires_grad], allow_unused=True)


def naive(name: str) -> dict[str, Any]:
    """One line: a step of fBGD and the same from all cells."""
    inputs = Inputs(read_split(data_folder() / name, validation="none").train)
    model, solver = made(inputs, embedding_dim=20, num_communities=20, kl="none"), FBGD()
    fast: list[Spell] = []
    slow: list[Spell] = []
    for _ in range(WARM + 3):
        ours(solver, model, inputs, fast)
        with Spell() as spell:
            naive_step(model, inputs)
        slow.append(spell)
    line = {"data": name, "what": "fBGD step, 20 factors, 20 communities", "ours": steady(fast), "all cells": steady(slow)}
    return line | {"ratio": round(line["ours"]["wall_s"] / line["all cells"]["wall_s"], 4), "authors_octave_s": 2.94}


def growth(plots: Path | None) -> list[dict[str, Any]]:
    """A line for each size: an epoch of each solver, and what it took beside a tenth of the interactions."""
    lines: list[dict[str, Any]] = []
    for size in SIZES:
        users = size // 45
        inputs = Inputs(attlas.simulate(users, max(100, users // 10), seed=1, num_interactions=size).interactions)
        line: dict[str, Any] = {"what": "FAWMF epoch, film club", "interactions": size, "users": users}
        for who, solver in (("fbgd", FBGD()), ("als", Alternating())):
            model, spells = made(inputs, start="random"), []
            for _ in range(WARM + 3):
                ours(solver, model, inputs, spells)
            line[who] = steady(spells)
        tenth = next((other for other in lines if other["interactions"] * 10 == size), None)
        if tenth:
            line["times a tenth"] = {who: round(line[who]["wall_s"] / tenth[who]["wall_s"], 2) for who in ("fbgd", "als")}
        lines.append(line | {"peak_mib": peak_mib()})
    if plots:
        series = {who: [(line["interactions"], line[who]["wall_s"]) for line in lines] for who in ("fbgd", "als")}
        draw(plots / "fawmf_growth.html", {"seconds an epoch": series}, "interactions", log=True)
    return lines


def solvers(name: str, plots: Path | None) -> dict[str, Any]:
    """One line: objective per interaction and NDCG@10 after so many seconds, for both solvers."""
    split = read_split(data_folder() / name, validation="none")
    inputs = Inputs(split.train)
    told: dict[str, dict[str, list[tuple[float, float]]]] = {"objective": {}, "NDCG@10": {}}
    for who, solver, epochs, every in (("als", Alternating(), 20, 1), ("fbgd", FBGD(), 200, 10)):
        model, spells = made(inputs, **SETS[name]), []
        for epoch in range(1, epochs + 1):
            ours(solver, model, inputs, spells)
            if epoch % every == 0:
                seconds = round(sum(spell.wall for spell in spells), 2)
                with torch.no_grad():
                    cost = model.objective(model.tensors(names=()), inputs).item() / len(inputs.train)
                told["objective"].setdefault(who, []).append((seconds, round(cost, 5)))
                told["NDCG@10"].setdefault(who, []).append((seconds, quality(model, inputs, split)))
    if plots:
        draw(plots / f"fawmf_solvers_{name}.html", told, "seconds")
    return {"data": name, "what": "FAWMF, objective and NDCG@10 by seconds", **told}


def draw(path: Path, panels: dict[str, dict[str, list[tuple[float, float]]]], across: str, *, log: bool = False) -> None:
    """A page with one panel for each thing measured, and a line in it for each solver."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(panels), cols=1, subplot_titles=list(panels))
    for row, series in enumerate(panels.values(), start=1):
        for who, points in series.items():
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=x, y=y, name=who, mode="lines+markers", row=row, col=1)
    figure.update_xaxes(title=across, type="log" if log else "linear")
    figure.update_yaxes(type="log" if log else "linear")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path)
    print(f"plot in {path}")


def main() -> None:
    """What was asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["pass", "naive", "growth", "solvers"])
    parser.add_argument("--plots", type=Path)
    asked = parser.parse_args()
    lines: list[dict[str, Any]] = []
    if "pass" in asked.what:
        lines += [passes(name) for name in SETS]
    if "naive" in asked.what:
        lines.append(naive("ml-1m-ncf"))
    if "growth" in asked.what:
        lines += growth(asked.plots)
    if "solvers" in asked.what:
        lines += [solvers(name, asked.plots) for name in SETS]
    record("fawmf", lines)


if __name__ == "__main__":
    main()
