"""One model of a comparison: settings searched on validation, then fitted under several seeds and measured on the test part.

In its folder:

    search/                 the trials
    searched.json           what they found
    seed-1.safetensors      what the fit of the first seed reached, and so on
    over.json               after how many seeds time was over, if it was
    run/                    the run of the first seed
    seed-2/                 a fit that has not ended
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from attlas.artefact import MANIFEST
from attlas.auditing.model import audit_model
from attlas.data.inputs import Sizes
from attlas.data.split import Split
from attlas.errors import ArtefactError
from attlas.evaluation.breakdown import Breakdown, by_popularity
from attlas.evaluation.comparison import Contender
from attlas.evaluation.keeping import read_reports, write_reports
from attlas.evaluation.report import AnyReport, Mean
from attlas.experiment import Experiment, remember
from attlas.models import model_class
from attlas.recommender import Recommender
from attlas.search.search import Searched, Tried, search
from attlas.telling import Teller
from attlas.training.checkpoint import write_whole
from attlas.training.journal import Epoch
from attlas.training.solvers import make_solver
from attlas.trial import Trial, kept

SEARCH_SHARE = 0.5  # of a cell's seconds; the fits with the settings that win need the rest


def run_cell(
    experiment: Experiment,
    split: Split,
    *,
    folder: Path,
    trials: int,
    seconds: float | None,
    seeds: int,
    name: str,
    tell: Teller,
    fixed: Collection[str] = (),
) -> Contender:
    """Search, fit and measure one model; a kill at any moment leaves what can be gone on with by the same call.

    Args:
        experiment: the settings of the first trial. With ``training.refit`` the last fits learn from validation too.
        trials, seconds, seeds: the most trials, time for everything, fits with the settings that win. One trial and one fit
            are always made; where nothing is drawn at random one fit is enough.
        fixed: settings that are not searched, such as ``model.embedding_dim``.
    """
    searched = search_settings(experiment, split, folder, trials, seconds, fixed, tell)
    reports, facts = zip(*_fits(searched, split, folder, seeds, seconds, name, tell), strict=True)
    return Contender(
        name,
        experiment.model["name"],
        is_baseline=False,
        is_random=draws(experiment),
        experiment=searched.experiment.to_dict(),
        valid=chosen_by(searched),
        tried=tuple(tried.to_dict() for tried in searched.tried),
        seeds=tuple(fact["seed"] for fact in facts),
        reports=reports,
        curve=searched.best.curve,
        search_seconds=searched.seconds,
        fit_seconds=sum(fact["fit_seconds"] for fact in facts) / len(facts),
        seconds=searched.seconds + sum(fact["wall_seconds"] for fact in facts),
        popularity=_breakdown(facts[0]["popularity"]),
        findings=tuple(facts[0]["findings"]),
        run=str(folder / "run"),
    )


def chosen_by(searched: Searched) -> dict[str, Any]:
    """By what the settings won: metric, value and epoch on the validation part."""
    return {"metric": searched.experiment.metric, "value": searched.best.value, "epoch": searched.best.epoch}


def _fits(
    searched: Searched, split: Split, folder: Path, seeds: int, seconds: float | None, name: str, tell: Teller
) -> list[tuple[dict[str, AnyReport], dict[str, Any]]]:
    """Reports and facts of each seed, for as long as what the search left of the time lasts.

    A later session may find more time left, since it does not pay again for what was begun; what one has decided holds.
    """
    left = None if seconds is None else seconds - searched.seconds
    experiment, over = searched.experiment, folder / "over.json"
    fits: list[tuple[dict[str, AnyReport], dict[str, Any]]] = []
    first = experiment.training.seed
    wanted = seeds if draws(experiment) else 1
    if over.is_file():
        wanted = min(wanted, int(json.loads(over.read_text(encoding="utf-8"))["seeds"]))
    for seed in range(first, first + wanted):
        is_kept = (folder / f"seed-{seed}.safetensors").is_file()
        if fits and not is_kept and left is not None and left < max(facts["again_seconds"] for _, facts in fits):
            tell.say(f"{name}: time is over after {len(fits)} of {wanted} seeds")
            write_whole(over, (json.dumps({"seeds": len(fits)}) + "\n").encode())
            break
        fits.append(_fit(experiment, split, seed, folder, chosen_by(searched), tell, name, is_first=not fits))
        left = None if left is None else left - fits[-1][1]["wall_seconds"]
    return fits


def search_settings(
    experiment: Experiment,
    split: Split,
    folder: Path,
    trials: int,
    seconds: float | None,
    fixed: Collection[str],
    tell: Teller,
) -> Searched:
    """The settings that win on validation, searched once; a finished search is read again."""
    path = folder / "searched.json"
    if path.is_file():
        return _searched(path)
    share = None if seconds is None else SEARCH_SHARE * seconds
    found = search(experiment, split, folder=folder / "search", trials=trials, seconds=share, fixed=fixed, tell=tell)
    write_whole(path, (json.dumps(found.to_dict(), indent=2) + "\n").encode())
    return _searched(path)


def _searched(path: Path) -> Searched:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        tried = tuple(Tried(**{**each, "curve": tuple(Epoch(**epoch) for epoch in each["curve"])}) for each in plain["tried"])
        best = next(each for each in tried if each.number == plain["best"]["number"])
        return Searched(tried, best, Experiment.of(plain["experiment"]), plain["seconds"])
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise ArtefactError(f"{path} is not whole ({error}); delete it, and it will be made anew") from error


def draws(experiment: Experiment) -> bool:
    """Whether another seed gives another model: what is solved in one epoch draws nothing."""
    tiny = model_class(experiment.model["name"])(Sizes(1, 1), experiment.model_config())
    return not make_solver(tiny, experiment.solver).one_epoch


def _fit(
    experiment: Experiment,
    split: Split,
    seed: int,
    folder: Path,
    valid: dict[str, Any],
    tell: Teller,
    name: str,
    *,
    is_first: bool,
) -> tuple[dict[str, AnyReport], dict[str, Any]]:
    """The reports of one seed by protocol, and what else is noted of its fit; the run of the first seed is kept."""
    path = folder / f"seed-{seed}.safetensors"
    run = folder / ("run" if is_first else f"seed-{seed}")
    if path.is_file() and (not is_first or (run / MANIFEST).is_file()):
        return read_reports(path)
    began = time.perf_counter()
    experiment = dataclasses.replace(experiment, training=dataclasses.replace(experiment.training, seed=seed))
    if (run / MANIFEST).is_file():  # a kill came between the run and its reports
        shutil.rmtree(run)
    remember(run, experiment, split.train.fingerprint)
    tell.say(f"{name}: fit with the settings that won, seed {seed}")
    made = Trial(experiment, split, run, tell).repeat(valid)
    facts: dict[str, Any] = {"seed": seed, "fit_seconds": made.card["training"]["seconds"]}
    facts["again_seconds"] = time.perf_counter() - began
    if is_first:
        kept(run, made)
    facts |= _looked_at(made, split, name, experiment, tell) if is_first else {"popularity": None, "findings": []}
    facts["wall_seconds"] = time.perf_counter() - began
    write_reports(path, {report.protocol: report for report in made.reports}, facts)
    if not is_first:
        shutil.rmtree(run)
    return read_reports(path)


def _looked_at(made: Recommender, split: Split, name: str, experiment: Experiment, tell: Teller) -> dict[str, Any]:
    """What needs the model itself and not only its reports."""
    findings = audit_model(made.scorer, split, made.reports, experiment, name=name, tell=tell)
    plain = [finding.to_dict() for finding in findings]
    if experiment.task != "ranking":
        return {"popularity": None, "findings": plain}
    found = by_popularity({name: made.scorer}, split, "full", experiment.metric)
    return {"popularity": dataclasses.asdict(found), "findings": plain}


def _breakdown(plain: dict[str, Any] | None) -> Breakdown | None:
    if plain is None:
        return None
    means = {name: [Mean(*mean) for mean in values] for name, values in plain["means"].items()}
    return Breakdown(plain["groups"], plain["counts"], means)
