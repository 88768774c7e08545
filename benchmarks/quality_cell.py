"""What a cell of docs/results.md is: one model on one data set, where it is kept, and which cells there are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from machine import data_folder

from attlas.data.split import Split
from attlas.data.split import split as split_by
from attlas.errors import ConfigError, nearest
from attlas.experiment import Experiment
from attlas.loading import load_rows, load_split
from attlas.models import stem_of
from attlas.telling import Teller

ROOT = Path(__file__).resolve().parent.parent
SETS, CELLS, RUNS = ROOT / "benchmarks/quality", ROOT / "benchmarks/results/quality", ROOT / "runs/quality"
SHARES = ("test", "valid")  # of [data], which a split takes and an experiment does not know


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model on one data set.

    Attributes:
        set, model: their names.
        tables: of the set's TOML.
    """

    set: str
    model: str
    tables: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``lastfm-ncf/ease``."""
        return f"{self.set}/{self.model}"

    @property
    def path(self) -> Path:
        """Where its figures stand."""
        return CELLS / self.set / f"{self.model}.json"

    @property
    def folder(self) -> Path:
        """Where it is worked on."""
        return RUNS / self.set / f"{self.model}-{self.depends[:12]}"

    @property
    def published_settings(self) -> dict[str, Any]:
        """By table and name, such as ``model.l2``; empty where none are known."""
        return {name: value for name, value in self.tables.get("settings", {}).get(self.model, {}).items() if name != "from"}

    @property
    def fixed(self) -> dict[str, Any]:
        """What an entry under a name of its own has for good, by table and name; empty for a plain model."""
        entry = self.tables.get("entries", {}).get(self.model, {})
        return {name: value for name, value in entry.items() if name != "of"}

    @property
    def registered(self) -> str:
        """The model's name among those of ``attlas models``."""
        return str(self.tables.get("entries", {}).get(self.model, {}).get("of", self.model))

    @property
    def start(self) -> dict[str, Any]:
        """Where the search begins, by table and name: what the whole set has, then the entry, then what was published."""
        of_set = {f"solver.{name}": value for name, value in self.tables.get("solver", {}).items()}
        return of_set | self.tables.get("start", {}).get(self.model, {}) | self.published_settings | self.fixed

    @property
    def source(self) -> Path:
        """The data."""
        return data_folder() / self.tables["data"]["source"]

    @cached_property
    def depends(self) -> str:
        """A hash of what its figures depend on: its settings, the model's file, the data."""
        asked = {name: self.tables.get(name) for name in ("data", "compare", "training", "evaluation")}
        asked["compare"] = {name: value for name, value in asked["compare"].items() if name != "models"}
        own = [self.start, sorted(self.fixed)] if self.start != self.published_settings else []
        text = json.dumps([self.model, asked, self.published_settings, *own], sort_keys=True)
        room = ROOT / f"attlas/models/{stem_of(self.registered)}.py"
        parts = (text.encode(), room.read_bytes(), hash_files(self.source).encode())
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def experiment(self) -> Experiment:
        """What is searched over, beginning with the published settings where there are any."""
        tables: dict[str, Any] = {name: dict(self.tables.get(name, {})) for name in ("data", "training", "evaluation")}
        tables["data"] = {name: value for name, value in tables["data"].items() if name not in SHARES}
        tables["data"]["source"] = str(self.source)
        tables["training"] = {"refit": True, **tables["training"]}
        tables |= {"model": {"name": self.registered}, "solver": {}}
        for name, value in self.start.items():
            table, _, setting = name.partition(".")
            tables[table][setting] = value
        return Experiment.of(tables)

    def split(self, tell: Teller) -> Split:
        """The data in their parts."""
        experiment, data = self.experiment(), self.tables["data"]
        shares = {name: data[name] for name in SHARES if name in data}
        if not shares:
            made, said = load_split(experiment.data)
        else:
            rows = load_rows(experiment.data)
            if rows is None:
                raise ConfigError(f"{self.source} is split already; leave [data] {', '.join(shares)} out of {self.set}.toml")
            made, said = split_by(rows, experiment.data.split, experiment.data.seed, **shares), rows.origin.sentences()
        for sentence in said:
            tell.say(sentence)
        return made


@cache
def hash_files(source: Path) -> str:
    """One hash of a file, or of all files of a folder."""
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    lines = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_sets() -> dict[str, dict[str, Any]]:
    """The tables of every set by its name, in the order of the page."""
    sets = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(SETS.glob("*.toml"))}
    return dict(sorted(sets.items(), key=lambda each: each[1]["place"]))


def cells_of(sets: Mapping[str, Mapping[str, Any]], wanted: list[str]) -> list[Cell]:
    """The cells that were asked for by set or by cell, all without a word.

    Raises:
        ConfigError: there is no such set or cell.
    """
    cells = [
        Cell(name, model, tables) for name, tables in sets.items() for model in tables.get("compare", {}).get("models", ())
    ]
    known = {cell.name for cell in cells} | set(sets)
    for name in wanted:
        if name not in known:
            raise ConfigError(f"there is no set or cell {name!r}; {nearest(name, known)}")
    return [cell for cell in cells if not wanted or cell.set in wanted or cell.name in wanted]


def read_cells() -> dict[str, dict[str, Any]]:
    """What was measured, by the name of the cell."""
    return {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in sorted(CELLS.glob("*/*.json"))}
