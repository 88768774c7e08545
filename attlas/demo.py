"""A first look: a film club is simulated, three models learn from it, and one page shows what they found.

In the demo's folder:

    ratings.csv, films.csv        the club as tables, such as anybody's own data
    popularity, ease, delf        run folders
    report.html                   the page
    demo.json                     what the demo made, and its numbers
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attlas.data.simulate import Club, simulate
from attlas.data.split import Split
from attlas.errors import ArtefactError
from attlas.evaluation.breakdown import by_activity, by_popularity
from attlas.evaluation.evaluate import evaluate
from attlas.experiment import Experiment
from attlas.loading import load_split
from attlas.models import MODELS
from attlas.page.cards import Person, Pick, picks_of
from attlas.page.club import Findings, club_page
from attlas.page.report import write_page
from attlas.page.standings import Entry, show, verdict
from attlas.page.truth import TRUTH, KnownTruth, Table
from attlas.recommender import Recommender
from attlas.runner import run
from attlas.telling import Teller
from attlas.training.checkpoint import write_whole
from attlas.training.journal import read_curve

SEED, CLUB, QUICK_CLUB, TINY_CLUB = 1, (1500, 800), (300, 200), (40, 30)
METRICS = ("ndcg@10", "hr@10", "recall@10")
MEMBERS, STRANGER = ("m17", "m3"), ("f4", "f10", "f77")
LIST_LENGTH, NUM_REASONS = 4, 4
RUNS, NOTE = ("popularity", "ease", "delf"), "demo.json"
FILES = ("ratings.csv", "films.csv", "report.html")

# Chosen by NDCG@10 on the validation part of each club, never by a test part. DELF's softmax is not smoothed, so
# that its weights are shares which sum to 1.
SETTINGS: dict[str, dict[str, Any]] = {
    "popularity": {},
    "ease": {"model": {"l2": 1000.0}},
    "delf": {
        "model": {"embedding_dim": 32, "attention_dim": 32, "layers": (32, 16)},
        "solver": {"learning_rate": 0.003, "batch_size": 4096},
        "training": {"epochs": 20, "patience": 3},
    },
}
QUICK_SETTINGS = SETTINGS | {
    "ease": {"model": {"l2": 200.0}},
    "delf": SETTINGS["delf"]
    | {
        "model": {"embedding_dim": 16, "attention_dim": 16, "layers": (16, 8)},
        "solver": {"learning_rate": 0.02, "batch_size": 2048},
    },
}


@dataclass(frozen=True, eq=False)
class Demo:
    """What a demo found.

    Attributes:
        folder: where everything lies.
        findings: what the page shows.
        missing: what could not be shown, and what would help.
    """

    folder: Path
    findings: Findings
    missing: list[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table."""
        return ("model", *METRICS, f"valid {METRICS[0]}", "seconds")

    def table(self) -> list[dict[str, Any]]:
        """One row per model with means and 95 % intervals; the last is what knowing the truth would reach."""
        return [
            {"model": entry.name + (" (reference)" if entry.is_reference else "")}
            | {metric: show(entry.mean(metric)) for metric in METRICS}
            | {f"valid {METRICS[0]}": _text(entry.valid, 3), "seconds": _text(entry.seconds, 2)}
            for entry in self.findings.entries
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        found = self.findings
        *models, truth = found.entries
        return {
            "data": dict(found.data),
            "verdict": verdict(found.entries, METRICS[0]),
            "models": {
                name: _facts_of(entry) | {"run": str(self.folder / name)} for name, entry in zip(RUNS, models, strict=True)
            },
            "truth": _facts_of(truth),
            "lists": {
                name: {"exposure": exposure._asdict(), "preference": preference._asdict()}
                for name, (exposure, preference) in found.lists.items()
            },
            "recommendations": [
                {"for": person.name, "model": model, "items": [pick.to_dict(NUM_REASONS) for pick in picks]}
                for person in found.people
                for model, picks in person.advice.items()
            ],
            "report": str(self.folder / "report.html"),
            "missing": self.missing,
            "seconds": found.seconds,
            "versions": dict(found.versions),
        }

    def sentences(self) -> list[str]:
        """What a person should hear beside the table."""
        found = self.findings
        said = [verdict(found.entries, METRICS[0]), "; ".join(found.entries[0].report.sentences()[:2])]
        for person in found.people:
            said += ["", f"{person.name}: {person.facts}"]
            for model, picks in person.advice.items():
                said += [f"  {model}: {', '.join(pick.title for pick in picks)}", f"    {picks[0].why.sentence()}"]
        return [*said, "", *self.missing, f"{found.seconds:.0f} s in all; open {self.folder / 'report.html'} in a browser"]


def run_demo(out: str | Path = "demo", *, quick: bool = False, tell: Teller | None = None) -> Demo:
    """Simulate a film club, train three models on it, evaluate them, and write a page about them.

    Args:
        out: a folder that is new, empty, or a former demo's, whose parts are made anew.
        quick: a smaller club.
        tell: who hears about it.

    Raises:
        ArtefactError: the folder holds something else, or cannot be written to.
    """
    began, tell, folder = time.perf_counter(), tell or Teller(), Path(out)
    _enter(folder)
    club = simulate(*(QUICK_CLUB if quick else CLUB), seed=SEED)
    tables = _write_tables(club, folder)
    tell.say("compiling what is not compiled yet")
    _compile_kernels()
    split, said = load_split(Experiment.of({"data": tables}).data)
    for sentence in said:
        tell.say(sentence)
    settings = QUICK_SETTINGS if quick else SETTINGS
    runs = {}
    for name in RUNS:
        tell.say(MODELS[name])
        runs[name] = run(_experiment(name, settings[name], tables), data=split, out=folder / name, tell=tell)
    tell.say("measuring, explaining, drawing")
    findings = _findings(club, split, runs, folder, quick=quick)
    findings = dataclasses.replace(findings, seconds=time.perf_counter() - began)
    demo = Demo(folder, findings, write_page(club_page(findings), folder / "report.html"))
    _note(folder, demo.to_dict())
    return demo


def _enter(folder: Path) -> None:
    """Make place: only what a former demo noted as its own is removed."""
    is_used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_used and not (folder / NOTE).is_file():
        raise ArtefactError(f"{folder} is not empty and not a former demo's; choose another --out, or empty it first")
    try:
        made = json.loads((folder / NOTE).read_text())["made"] if is_used else []
        for name in (name for name in RUNS if name in made):
            shutil.rmtree(folder / name, ignore_errors=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / NOTE} is not a demo's note; choose another --out, or delete {folder}") from error
    _note(folder, {})


def _note(folder: Path, numbers: Mapping[str, Any]) -> None:
    content = {"made": [*FILES, *RUNS], **numbers}
    write_whole(folder / NOTE, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def _write_tables(club: Club, folder: Path) -> dict[str, str]:
    """The club as files, and the settings that read them."""
    films = club.interactions.items
    facts = pl.DataFrame({"item": films.ids}).hstack(films.columns if films.columns is not None else pl.DataFrame())
    for name, table in {"ratings.csv": club.interactions.to_frame(), "films.csv": facts}.items():
        write_whole(folder / name, table.write_csv().encode())
    return {"source": str(folder / "ratings.csv"), "items": str(folder / "films.csv"), "split": "global-time"}


def _compile_kernels() -> None:
    """Run everything once on a club too small to take time, so that the seconds of the real fits are their own."""
    split, _ = load_split(Experiment.of({}).data, simulate(*TINY_CLUB, seed=SEED).interactions)
    for name in RUNS:
        run(_experiment(name, {"training": {"epochs": 1}}, {}), data=split, tell=Teller())


def _experiment(name: str, settings: Mapping[str, Any], tables: Mapping[str, str]) -> Experiment:
    return Experiment.of(
        {
            "data": tables,
            "model": {"name": name, **settings.get("model", {})},
            "solver": settings.get("solver", {}),
            "training": {"seed": SEED, **settings.get("training", {})},
            "evaluation": {"protocol": ("full",), "k": (10,)},
        }
    )


def _findings(club: Club, split: Split, runs: Mapping[str, Recommender], folder: Path, *, quick: bool) -> Findings:
    truth = KnownTruth(club, split.train)
    scorers = {MODELS[name]: Table.of(made.scorer) for name, made in runs.items()}
    scorers[TRUTH] = Table(split.train, truth.choice_UI)
    entries = [_entry(name, made, folder / name) for name, made in runs.items()]
    report = entries[0].report
    entries.append(Entry(TRUTH, evaluate(scorers[TRUTH], split, report.protocol, k=report.k), is_reference=True))
    card = runs["ease"].card
    return Findings(
        entries=entries,
        metrics=METRICS,
        activity=by_activity({entry.name: entry.report for entry in entries}, split, METRICS[0]),
        popularity=by_popularity(scorers, split, report.protocol, METRICS[0]),
        lists=truth.of_lists(scorers, split, report),
        people=[_person(user, runs, club, truth, split) for user in (*MEMBERS, None)],
        data={
            "source": card["data"]["source"],
            "seed": SEED,
            "users": len(split.train.users),
            "items": len(split.train.items),
            "rows": len(club.interactions),
            "split": split.code,
            "train": len(split.train),
            "valid": len(split.valid) if split.valid else 0,
            "test": len(split.test),
            "fingerprint": split.train.fingerprint,
        },
        versions=card["versions"],
        seconds=0.0,
        folder=str(folder),
        is_quick=quick,
    )


def _entry(name: str, made: Recommender, folder: Path) -> Entry:
    noted = made.card["training"]
    valid = noted["valid"]["value"] if noted["valid"] else None
    return Entry(MODELS[name], made.report, noted["seconds"], valid, read_curve(folder, METRICS[0]))


def _person(user: str | None, runs: Mapping[str, Recommender], club: Club, truth: KnownTruth, split: Split) -> Person:
    films = split.train.items
    if user is None:
        chosen = films.index_of(STRANGER)
        name, facts = "A stranger", f"not in the club; has seen {len(chosen)} films"
    else:
        index = int(split.train.users.index_of([user])[0])
        rows = np.flatnonzero(split.train.user == index)
        chosen = split.train.item[rows[np.argsort(-split.train.time[rows], kind="stable")]]  # type: ignore[index]
        known = club.interactions.users
        row = known.columns.row(int(known.index_of([user])[0]), named=True) if known.columns is not None else {}
        name, facts = f"Member {user}", f"{', '.join(row.values())}; had seen {len(chosen)} films by then"
    advice = {}
    for model in ("ease", "delf"):
        picks = picks_of(runs[model], user, LIST_LENGTH, history=STRANGER if user is None else None)
        advice[MODELS[model]] = [_described(pick, user, truth, split) for pick in picks]
    lately = ", ".join(films.titles_of(chosen[:5]))
    return Person(name, facts, f"Lately: {lately}" if len(chosen) > 5 else lately, advice)


def _described(pick: Pick, user: str | None, truth: KnownTruth, split: Split) -> Pick:
    films = split.train.items
    index = int(films.index_of([pick.item])[0])
    row = films.columns.row(index, named=True) if films.columns is not None else {}
    note = ""
    if user is not None:
        liking = truth.preference_UI[split.train.users.index_of([user])[0], index]
        note = f"truth: would {'' if liking > 0 else 'not '}like it ({liking:+.1f})".replace("-", "−")
    return dataclasses.replace(
        pick, facts=", ".join(str(row[name]) for name in ("mood", "genre", "decade") if name in row), note=note
    )


def _facts_of(entry: Entry) -> dict[str, Any]:
    noted = entry.report.to_dict()
    numbers = {"means": noted["means"], "intervals": noted["intervals"], "valid": entry.valid, "seconds": entry.seconds}
    return numbers | {"epochs": [epoch._asdict() for epoch in entry.curve]}


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
