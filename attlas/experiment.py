"""From settings, a TOML file or a few arguments, to a trained Recommender with its Reports."""

from __future__ import annotations

import dataclasses
import json
import platform
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from attlas.data.interactions import Interactions
from attlas.data.readers import read
from attlas.data.split import Split, looks_like_split, read_split
from attlas.data.split import split as split_by
from attlas.errors import ArtefactError, ConfigError, nearest
from attlas.evaluation.metrics import LEADING, find_metric
from attlas.evaluation.protocols import find_protocol
from attlas.memory import parse_bytes
from attlas.models import model_class
from attlas.models.protocol import task_of
from attlas.settings import build
from attlas.training.checkpoint import write_whole

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """What to learn from.

    Attributes:
        source: a file, or a folder of given files; "" where the data are passed in.
        split: how to hold out: a code of ``attlas.split``; given files keep theirs.
        validation: for given files, how validation is cut from training: auto, leave-last-out, leave-random-out or none.
        seed: what random splits depend on.
        user, item, rating, time: names of columns; None guesses.
        separator: what stands between columns; None finds out.
        items: a file with titles and other facts about the items.
    """

    source: str = ""
    split: str = "auto"
    validation: str = "auto"
    seed: int = Field(default=1, ge=0)
    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None
    separator: str | None = None
    items: str | None = None


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How long to train, and on what.

    Attributes:
        epochs: at most so many.
        patience: stop when the metric on the validation part has not risen for so many epochs.
        metric: what validation measures, in full ranking or on its ratings; None means ndcg@10, or rmse for models of ratings.
        refit: after the best number of epochs is known, train anew on training and validation together for as many; of
            validation users that were held out whole, on their given rows too.
        seed: what weights, order and negatives depend on.
        device: cpu or cuda.
        memory: what fitting may use, such as 4GB; None means what the machine has available.
    """

    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=5, ge=1)
    metric: str | None = None
    refit: bool = False
    seed: int = Field(default=1, ge=0)
    device: str = "cpu"
    memory: str | None = None

    def memory_bytes(self) -> int | None:
        """The memory given, in bytes; None if the machine's."""
        return None if self.memory is None else parse_bytes(self.memory)


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """What is reported.

    Attributes:
        protocol: codes of ``attlas.evaluation``; () means full, and ncf beside it where the files give candidates.
        k: the cut-offs.
    """

    protocol: tuple[str, ...] = ()
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(10, 20), min_length=1)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides a run; equal experiments on equal data give equal bits on a CPU.

    Attributes:
        data, training, evaluation: see their classes.
        model: ``name`` and whatever the model's Config can take.
        solver: ``name`` and whatever the solver can take.
    """

    data: DataConfig
    model: dict[str, Any]
    solver: dict[str, Any]
    training: TrainingConfig
    evaluation: EvaluationConfig

    @classmethod
    def of(cls, tables: Mapping[str, Any]) -> Experiment:
        """From the tables of a TOML file.

        Raises:
            ConfigError: an unknown table or key, or a value that does not fit.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name, table in tables.items():
            if name not in known:
                raise ConfigError(f"no table is called [{name}]; {nearest(name, known)}")
            if not isinstance(table, Mapping):
                raise ConfigError(f"{name} = {table!r} stands alone; write it as a table: [{name}]")
        model = {"name": "popularity", **tables.get("model", {})}
        if not isinstance(model["name"], str):
            raise ConfigError(f"[model] name = {model['name']!r}; expected the name of a model, one that attlas models lists")
        made = cls(
            build(DataConfig, tables.get("data", {}), where="data"),
            model,
            dict(tables.get("solver", {})),
            build(TrainingConfig, tables.get("training", {}), where="training"),
            build(EvaluationConfig, tables.get("evaluation", {}), where="evaluation"),
        )
        made = dataclasses.replace(made, training=dataclasses.replace(made.training, metric=made.metric))
        made.model_config()
        made._check_measures()
        made.training.memory_bytes()
        return made

    @classmethod
    def from_file(cls, path: str | Path) -> Experiment:
        """From a TOML file; paths in it are taken from the folder one stands in.

        Raises:
            ConfigError: no such file, no TOML, or settings that do not fit.
        """
        return cls.of(read_toml(path))

    def _check_measures(self) -> None:
        find_metric(self.metric, self.task)
        for code in self.evaluation.protocol:
            if code != self.task:
                find_protocol(code)

    @property
    def task(self) -> Literal["ranking", "rating"]:
        """What the model's scores are."""
        return task_of(model_class(self.model["name"]))

    @property
    def metric(self) -> str:
        """What validation measures."""
        return self.training.metric or LEADING[self.task]

    def model_config(self) -> Any:
        """The model's Config, checked."""
        chosen: Any = model_class(self.model["name"])
        settings = {name: value for name, value in self.model.items() if name != "name"}
        return build(chosen.Config, settings, where="model")

    def to_dict(self) -> dict[str, Any]:
        """The tables again, ready for JSON, with every default spelled out."""
        return {
            "data": dataclasses.asdict(self.data),
            "model": {"name": self.model["name"], **dataclasses.asdict(self.model_config())},
            "solver": self.solver,
            "training": dataclasses.asdict(self.training),
            "evaluation": dataclasses.asdict(self.evaluation),
        }


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; expected a TOML file such as those in configs/") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error


def load_split(config: DataConfig, data: Any = None) -> tuple[Split, list[str]]:
    """The split that the settings ask for, and what a person should hear about it.

    Args:
        config: the settings.
        data: a Split, Interactions or a frame; None reads ``config.source``.
    """
    if isinstance(data, Split):
        return data, []
    rows, why = load_rows(config, data), ""
    if rows is None:
        if config.split != "auto":
            raise ConfigError(f"{config.source} is split already; leave [data] split out, or read one of its files alone")
        made = read_split(config.source, validation=config.validation, seed=config.seed, items=config.items)
        said = made.train.origin.sentences() + _oddities(made)
    else:
        made = split_by(rows, config.split, config.seed, valid=0.0 if config.validation == "none" else None)
        said = rows.origin.sentences()
        if config.split == "auto":
            why = f" (chosen since {'no times' if rows.time is None else 'times'} are known)"
    held = len(made.valid) if made.valid else 0
    said.append(f"split {made.code}{why}: {len(made.train):,} rows train, {held:,} validation, {len(made.test):,} test")
    return made, said + _strangers(made) + [f"{count:,} {reason}" for reason, count in made.dropped.items() if count]


def load_rows(config: DataConfig, data: Any = None) -> Interactions | None:
    """All rows that a split is cut from; None where the data come split already."""
    if isinstance(data, Split) or (data is None and looks_like_split(config.source)):
        return None
    return data if isinstance(data, Interactions) else _read(config, data)


def _strangers(split: Split) -> list[str]:
    """Who is measured, where users were held out whole."""
    if split.given is None:
        return []
    valid, test = (0 if part is None else len(np.unique(part.user)) for part in (split.valid, split.test))
    return [f"{valid:,} validation and {test:,} test users are strangers to training, known by {len(split.given):,} given rows"]


def _oddities(split: Split) -> list[str]:
    """What a split that was given as files does not promise: warm test rows, and none that is in training too."""
    train, test = split.train.by_user, split.test
    cold_users = int((train.sum(axis=1)[test.user] == 0).sum())
    cold_items = int((train.sum(axis=0)[test.item] == 0).sum())
    repeated = int(train[test.user, test.item].sum())
    counts = {"of users without training rows": cold_users, "of items without training rows": cold_items}
    return [f"{count:,} test rows are {what}" for what, count in (counts | {"also in training": repeated}).items() if count]


def _read(config: DataConfig, data: Any) -> Interactions:
    if data is None and not config.source:
        raise ConfigError(
            'nothing to learn from; give a file or a folder: --data ratings.csv, or [data] source = "ratings.csv"'
        )
    names = {name: getattr(config, name) for name in ("user", "item", "rating", "time", "separator", "items")}
    return read(config.source if data is None else data, **names)


class Begun(NamedTuple):
    """What was begun in a run folder: the experiment, the fingerprint of its training data, and what a final fit goes by."""

    experiment: Experiment
    fingerprint: str
    final: dict[str, Any] | None = None


def remember(folder: Path, experiment: Experiment, fingerprint: str, *, final: dict[str, Any] | None = None) -> None:
    """Note in a run folder what is being run, so that it can be resumed."""
    noted = {"experiment": experiment.to_dict(), "fingerprint": fingerprint} | ({"final": final} if final else {})
    write_whole(folder / "experiment.json", (json.dumps(noted, indent=2) + "\n").encode())


def recall(folder: Path) -> Begun:
    """What was begun in a run folder.

    Raises:
        ArtefactError: nothing was.
    """
    try:
        noted = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
        return Begun(Experiment.of(noted["experiment"]), noted["fingerprint"], noted.get("final"))
    except OSError as error:
        raise ArtefactError(
            f"{folder} holds no fit to resume; begin one with: attlas fit --data FILE --out {folder}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{folder / 'experiment.json'} is not whole; delete the folder and fit anew") from error


def versions() -> dict[str, str]:
    """What the run was made with."""
    names = ("attlas", "torch", "numpy", "scipy", "numba", "polars")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
