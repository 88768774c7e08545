"""From settings, a TOML file or a few arguments, to a trained Recommender with its Reports."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from attlas.data.readers import read
from attlas.data.split import Split, looks_like_split, read_split
from attlas.data.split import split as split_by
from attlas.errors import ArtefactError, ConfigError, nearest
from attlas.evaluation.metrics import AT_K, WITHOUT_K
from attlas.evaluation.protocols import find_protocol
from attlas.memory import parse_bytes
from attlas.models import model_class
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
        items, users: files with titles and other facts about the items, and about the users.
        repeat: what several rows of one user and item become: count, sum:COLUMN, first or last.
        positive: the condition that a row must meet, such as rating>=4.
        min_user, min_item: how many items a user and how many users an item must have, both at once.
        since: rows before this date, or these seconds since 1970, are left out.
        returns: what negative amounts do: drop leaves their rows out, cancel takes them from earlier purchases.
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
    users: str | None = None
    repeat: str = "count"
    positive: str | None = None
    min_user: int = Field(default=0, ge=0)
    min_item: int = Field(default=0, ge=0)
    since: Annotated[str | None, BeforeValidator(lambda moment: moment if moment is None else str(moment))] = None
    returns: str | None = None

    def cleaning(self) -> dict[str, Any]:
        """What the rows become, as ``attlas.read`` takes it."""
        return {name: getattr(self, name) for name in ("repeat", "positive", "min_user", "min_item", "since", "returns")}


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How long to train, and on what.

    Attributes:
        epochs: at most so many.
        patience: stop when the metric on the validation part has not risen for so many epochs.
        metric: what validation measures, in full ranking.
        refit: after the best number of epochs is known, train anew on training and validation together for as many.
        seed: what weights, order and negatives depend on.
        device: cpu or cuda.
        memory: what fitting may use, such as 4GB; None means what the machine has available.
    """

    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=5, ge=1)
    metric: str = "ndcg@10"
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
        metric = self.training.metric
        name, _, cut = metric.partition("@")
        if name not in (*AT_K, *WITHOUT_K):
            raise ConfigError(f"[training] metric = {metric!r} is not known; {nearest(name, (*AT_K, *WITHOUT_K))}")
        if bool(re.fullmatch(r"[1-9]\d*", cut)) != (name in AT_K) or (cut and name in WITHOUT_K):
            fit = f"{name}@10" if name in AT_K else name
            raise ConfigError(f"[training] metric = {metric!r} does not fit; write for instance {fit!r}")
        for code in self.evaluation.protocol:
            find_protocol(code)

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
    if data is None and looks_like_split(config.source):
        if config.split != "auto":
            raise ConfigError(f"{config.source} is split already; leave [data] split out, or read one of its files alone")
        _refuse_cleaning(config)
        made = read_split(config.source, validation=config.validation, seed=config.seed, items=config.items)
        said = made.train.origin.sentences() + _oddities(made)
    else:
        rows = data if _is_interactions(data) else _read(config, data)
        made = split_by(rows, config.split, config.seed, valid=0.0 if config.validation == "none" else None)
        said = rows.origin.sentences()
    held = len(made.valid) if made.valid else 0
    said.append(f"split {made.code}: {len(made.train):,} rows train, {held:,} validation, {len(made.test):,} test")
    return made, said + [f"{count:,} {reason}" for reason, count in made.dropped.items() if count]


def _oddities(split: Split) -> list[str]:
    """What a split that was given as files does not promise: warm test rows, and none that is in training too."""
    train, test = split.train.by_user, split.test
    cold_users = int((train.sum(axis=1)[test.user] == 0).sum())
    cold_items = int((train.sum(axis=0)[test.item] == 0).sum())
    repeated = int(train[test.user, test.item].sum())
    counts = {"of users without training rows": cold_users, "of items without training rows": cold_items}
    return [f"{count:,} test rows are {what}" for what, count in (counts | {"also in training": repeated}).items() if count]


def _is_interactions(data: Any) -> bool:
    return hasattr(data, "by_user") and hasattr(data, "origin")


def _read(config: DataConfig, data: Any) -> Any:
    if data is None and not config.source:
        raise ConfigError(
            'nothing to learn from; give a file or a folder: --data ratings.csv, or [data] source = "ratings.csv"'
        )
    names = {name: getattr(config, name) for name in ("user", "item", "rating", "time", "separator", "items", "users")}
    return read(config.source if data is None else data, **names, **config.cleaning())


def _refuse_cleaning(config: DataConfig) -> None:
    default = DataConfig()
    changed = [name for name in (*config.cleaning(), "users") if getattr(config, name) != getattr(default, name)]
    if changed:
        raise ConfigError(f"{config.source} is split already, its rows stay as they are; leave out [data] {', '.join(changed)}")


def remember(folder: Path, experiment: Experiment, fingerprint: str) -> None:
    """Note in a run folder what is being run, so that it can be resumed."""
    noted = {"experiment": experiment.to_dict(), "fingerprint": fingerprint}
    write_whole(folder / "experiment.json", (json.dumps(noted, indent=2) + "\n").encode())


def recall(folder: Path) -> tuple[Experiment, str]:
    """The experiment that was begun in a run folder, and the fingerprint of its training data.

    Raises:
        ArtefactError: none was begun there.
    """
    try:
        noted = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
        return Experiment.of(noted["experiment"]), noted["fingerprint"]
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
