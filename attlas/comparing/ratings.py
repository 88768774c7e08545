"""Models of ratings on one split: equal budgets, several seeds, errors in place of ranks.

In the folder of such a comparison:

    plan.json                   what is compared, and the fingerprint of its data
    NAME/search, searched.json  the trials of one model, and what they found
    NAME/seed-1.safetensors     the predictions of the fit of the first seed, and so on
    NAME/run                    the run of the first seed
    comparison.json, table.md
    winner/                     the run that validation would choose

Shapes: S seeds, N rows of the test part, U users, R resamples.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file, save

from attlas.artefact import MANIFEST, move_into_place
from attlas.comparing.cell import chosen_by, draws, search_settings
from attlas.comparing.plan import Entrant, Plan
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.errors import ArtefactError, AttlasError, ConfigError, Interrupted, MissingExtra
from attlas.evaluation.comparison import Skipped
from attlas.evaluation.metrics import mae, rmse
from attlas.experiment import remember, versions
from attlas.search.search import Searched
from attlas.telling import Teller
from attlas.training.checkpoint import write_whole
from attlas.trial import Trial, fingerprints, kept

ERRORS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"rmse": rmse, "mae": mae}
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Rater:
    """One model of a comparison of ratings.

    Attributes:
        name, model, is_baseline, experiment, valid, tried, seeds, search_seconds, fit_seconds: as of a ``Contender``.
        predicted: float32[S, N], the rating of every test row under every seed.
        run: the folder of the first seed's run.
    """

    name: str
    model: str
    is_baseline: bool
    experiment: dict[str, Any]
    valid: dict[str, Any]
    tried: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    predicted: np.ndarray
    search_seconds: float
    fit_seconds: float
    run: str


@dataclasses.dataclass(frozen=True, eq=False)
class RatingComparison:
    """Several models of ratings on one split.

    Attributes:
        raters, skipped: who took part, in the order of the ladder, and who did not.
        metric: the leading error.
        test: what was to be predicted.
        winner: the name of the one with the lowest error on the validation part.
        data, budget, seconds, versions: as of a ``Comparison``.
    """

    protocols: ClassVar[tuple[str, ...]] = ("rating",)
    raters: tuple[Rater, ...]
    skipped: tuple[Skipped, ...]
    metric: str
    test: Interactions
    winner: str
    data: dict[str, Any]
    budget: str
    seconds: float
    versions: dict[str, str]

    def by_seed(self, rater: Rater, metric: str) -> np.ndarray:
        """An error under every seed, [S]."""
        assert self.test.rating is not None
        return np.array([ERRORS[metric](self.test.rating, predicted_N) for predicted_N in rater.predicted])

    @cached_property
    def ranked(self) -> list[Rater]:
        """The lowest mean of the leading error first."""
        return sorted(self.raters, key=lambda each: self.by_seed(each, self.metric).mean())

    def below(self, one: Rater, other: Rater) -> tuple[float, float, float]:
        """By how much the mean square error of one is below that of the other, seeds averaged, and its 95 % interval.

        The interval is a percentile bootstrap over users, whose rows stay together, equal in every run.
        """
        assert self.test.rating is not None
        square_2N = [np.square(each.predicted - self.test.rating).mean(axis=0, dtype=np.float64) for each in (one, other)]
        users, row_N = np.unique(self.test.user, return_inverse=True)
        gap_U, count_U = np.bincount(row_N, weights=square_2N[1] - square_2N[0]), np.bincount(row_N)
        drawn_RU = np.random.default_rng(0).multinomial(len(users), np.full(len(users), 1 / len(users)), size=RESAMPLES)
        low, high = np.quantile((drawn_RU @ gap_U) / (drawn_RU @ count_U), (0.025, 0.975))
        return float(gap_U.sum() / count_U.sum()), float(low), float(high)

    def rows(self) -> list[dict[str, Any]]:
        """One row per model, best first."""
        lines = []
        for rank, each in enumerate(self.ranked, start=1):
            line: dict[str, Any] = {"rank": rank, "model": each.name}
            for metric in (self.metric, *(name for name in ERRORS if name != self.metric)):
                value_S = self.by_seed(each, metric)
                line[metric] = f"{value_S.mean():.4f}" + (f" ± {value_S.std(ddof=1):.4f}" if len(value_S) > 1 else "")
            line |= {"valid": f"{each.valid['value']:.4f}", "trials": len(each.tried)}
            lines.append(line | {"search s": f"{each.search_seconds:,.1f}", "fit s": f"{each.fit_seconds:,.1f}"})
        return lines

    def sentences(self) -> list[str]:
        """Whom validation chose, the best against each other, and who did not take part."""
        best, *rest = self.ranked
        won = next(each for each in self.raters if each.name == self.winner)
        reached = f"{self.by_seed(won, self.metric).mean():.4f} on the test part"
        said = [f"{won.name} has the lowest validation {self.metric}, {won.valid['value']:.4f}, and reached {reached}."]
        for each in rest:
            gap, low, high = self.below(best, each)
            verdict = "sure" if low > 0 else "not sure"
            said.append(
                f"{best.name} is below {each.name} by a mean square error of {gap:.4f}, {low:.4f} to {high:.4f}: {verdict}."
            )
        return said + [f"{each.name} did not take part: {each.reason}" for each in self.skipped]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single predictions, ready for JSON."""
        raters = [{**_facts(each), "errors": self._errors(each)} for each in self.raters]
        found = {name: getattr(self, name) for name in ("metric", "winner", "data", "budget", "seconds", "versions")}
        found |= {"ranked": [each.name for each in self.ranked], "sentences": self.sentences()}
        return {**found, "raters": raters, "skipped": [dataclasses.asdict(each) for each in self.skipped]}

    def markdown(self) -> str:
        """The rows as a table, and the sentences."""
        lines = self.rows()
        head = list(lines[0])
        table = [
            head,
            [":--" if name == "model" else "--:" for name in head],
            *([str(line[key]) for key in head] for line in lines),
        ]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n\n" + "\n".join(self.sentences()) + "\n"

    def _errors(self, rater: Rater) -> dict[str, list[float]]:
        return {metric: self.by_seed(rater, metric).tolist() for metric in ERRORS}


def _facts(rater: Rater) -> dict[str, Any]:
    return {field.name: getattr(rater, field.name) for field in dataclasses.fields(rater) if field.name != "predicted"}


def compare_ratings(plan: Plan, split: Split, folder: Path, tell: Teller) -> RatingComparison:
    """Search, fit and measure every model of a plan whose task is to rate, and write what was found.

    Raises:
        ConfigError: no model was left.
    """
    began, raters, skipped = time.monotonic(), [], []
    entrants = plan.entrants(has_candidates=False)
    for place, entrant in enumerate(entrants):
        tell.say(f"{entrant.name}: {place + 1} of {len(entrants)}")
        left = None if plan.compare.seconds is None else max(0.0, plan.compare.seconds - (time.monotonic() - began))
        share = None if left is None else left / (len(entrants) - place)
        try:
            raters.append(_rate(plan, entrant, split, folder / entrant.name, share, tell))
        except (ArtefactError, MissingExtra, Interrupted):
            raise
        except AttlasError as error:
            skipped.append(Skipped(entrant.name, str(entrant.experiment.model["name"]), str(error)))
    if not raters:
        raise ConfigError("no model was left to compare: " + "; ".join(each.reason for each in skipped))
    found = RatingComparison(
        raters=tuple(raters),
        skipped=tuple(skipped),
        metric=plan.metric,
        test=split.test,
        winner=min(raters, key=lambda each: each.valid["value"]).name,
        data={"source": split.train.origin.source, "split": split.code, "test": len(split.test), **fingerprints(split)},
        budget=plan.compare.words(),
        seconds=time.monotonic() - began,
        versions=versions(),
    )
    _write(found, folder)
    return found


def _rate(plan: Plan, entrant: Entrant, split: Split, folder: Path, share: float | None, tell: Teller) -> Rater:
    """One model: settings searched on validation, then fitted under several seeds."""
    Trial(entrant.experiment, split, None, tell)  # refuses what would fail
    searched = search_settings(entrant.experiment, split, folder, plan.compare.trials, share, entrant.fixed, tell)
    first = searched.experiment.training.seed
    seeds = range(first, first + (plan.compare.seeds if draws(searched.experiment) else 1))
    fits = [_predict(searched, split, folder, seed, is_first=seed == first, tell=tell) for seed in seeds]
    return Rater(
        entrant.name,
        str(entrant.experiment.model["name"]),
        entrant.is_baseline,
        searched.experiment.to_dict(),
        chosen_by(searched),
        tuple(tried.to_dict() for tried in searched.tried),
        tuple(seeds),
        np.stack([predicted_N for predicted_N, _ in fits]),
        searched.seconds,
        float(np.mean([seconds for _, seconds in fits])),
        str(folder / "run"),
    )


def _predict(
    searched: Searched, split: Split, folder: Path, seed: int, *, is_first: bool, tell: Teller
) -> tuple[np.ndarray, float]:
    """The rating of every test row after a fit with the settings that won, and the seconds that it took."""
    path, run = folder / f"seed-{seed}.safetensors", folder / ("run" if is_first else f"seed-{seed}")
    if not path.is_file() or (is_first and not (run / MANIFEST).is_file()):
        training = dataclasses.replace(searched.experiment.training, seed=seed)
        experiment = dataclasses.replace(searched.experiment, training=training)
        if (run / MANIFEST).is_file():  # a kill came between the run and its predictions
            shutil.rmtree(run)
        remember(run, experiment, split.train.fingerprint)
        made = kept(run, Trial(experiment, split, run, tell).repeat(chosen_by(searched)))
        seconds = np.array([made.card["training"]["seconds"]])
        write_whole(path, save({"predicted": made.scorer.score_rows(split.test), "seconds": seconds}))
        if not is_first:
            shutil.rmtree(run)
    found = load_file(path)
    return found["predicted"], float(found["seconds"][0])


def _write(found: RatingComparison, folder: Path) -> None:
    write_whole(folder / "comparison.json", (json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())
    write_whole(folder / "table.md", found.markdown().encode())
    staged = folder / ".winner.part"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(next(each.run for each in found.raters if each.name == found.winner), staged)
    move_into_place(staged, folder / "winner")
