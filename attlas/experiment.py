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

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from attlas.artefact import put_back
from attlas.errors import ArtefactError, ConfigError, nearest
from attlas.evaluation.naming import LEADING, find_metric
from attlas.evaluation.protocols import find_protocol
from attlas.loading import DataConfig, labelled
from attlas.memory import parse_bytes
from attlas.models import model_class
from attlas.models.protocol import asked_by, task_of
from attlas.settings import build
from attlas.training.checkpoint import write_whole
from attlas.training.solvers import OF_LABELS

STRICT = ConfigDict(extra="forbid")


def _folders(given: Any) -> Any:
    """One folder or several, as text."""
    if isinstance(given, str | Path):
        return (str(given),)
    return tuple(str(one) if isinstance(one, Path) else one for one in given) if isinstance(given, list | tuple) else given


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How long to train, and on what.

    Attributes:
        epochs: at most so many.
        patience: stop when the metric on the validation part has not risen for so many epochs.
        metric: what validation measures, in full ranking or on its ratings; None means ndcg@10, or rmse for models of ratings.
            sampled_ndcg@10 is what NDCG@10 among 99 random items would be on average, for tables whose test is of that kind.
        refit: after the best number of epochs is known, train anew on training and validation together for as many; of
            validation users that were held out whole, on their given rows too.
        seed: what weights, order and negatives depend on.
        device: cpu or cuda.
        memory: what fitting may use, such as 4GB; None means what the machine has available.
        start: folders of runs whose weights the fit begins with: one of the same model, or of the parts that it fuses.
        chosen: whether a search has chosen the number of epochs, whose last one is then the best by its making.
    """

    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=5, ge=1)
    metric: str | None = None
    refit: bool = False
    seed: int = Field(default=1, ge=0)
    device: str = "cpu"
    memory: str | None = None
    start: Annotated[tuple[str, ...], BeforeValidator(_folders)] = ()
    chosen: bool = False

    def memory_bytes(self) -> int | None:
        """The memory given, in bytes; None if the machine's."""
        return None if self.memory is None else parse_bytes(self.memory)


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """What is reported.

    Attributes:
        protocol: codes of ``attlas.evaluation``; () means full, and ncf beside it where the files give candidates. A sampled
            protocol brings full along.
        k: the cut-offs.
        beyond: under full, also what the lists are like: novelty, popularity, diversity, coverage and Gini.
    """

    protocol: tuple[str, ...] = ()
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(10, 20), min_length=1)
    beyond: bool = True


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
        made = _of_labels(made)
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

    def with_data(self, data: Any) -> tuple[Experiment, Any]:
        """The experiment and its data in memory; a path is none, but where its source lies now."""
        if not isinstance(data, str | Path):
            return self, data
        return dataclasses.replace(self, data=dataclasses.replace(self.data, source=str(data))), None

    def _check_measures(self) -> None:
        find_metric(self.metric, self.task)
        for code in self.evaluation.protocol:
            self.check_protocol(code)

    def check_protocol(self, code: str) -> None:
        """Refuse a protocol by which the model cannot be measured.

        Raises:
            ConfigError: there is no such protocol, or it ranks and the rows are labelled.
        """
        if code == self.task:
            return
        find_protocol(code)
        if self.data.label is not None:
            raise ConfigError(
                f"protocol {code!r} ranks, and labelled rows are measured row by row; use {self.task!r} or leave it out"
            )

    @property
    def task(self) -> Literal["ranking", "rating", "label", "target"]:
        """What the model's scores are; of labelled rows by what the objective makes of them."""
        if self.data.label is not None:
            return OF_LABELS[self.solver["objective"]]  # type: ignore[return-value]
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


def _of_labels(made: Experiment) -> Experiment:
    """The same; where the source holds labelled rows their column, and an objective that learns from them."""
    data, name = labelled(made.data), made.model["name"]
    objective = made.solver.get("objective")
    if data.label is None:
        if objective in OF_LABELS:
            raise ConfigError(f"[solver] objective = {objective!r} learns from labelled rows; name their column: [data] label")
        return made
    if asked_by(model_class(name)) != ("fields",):
        raise ConfigError(f"{name} does not read feature fields, and these data are labelled rows of them; take fm or afm")
    if objective not in (None, *OF_LABELS):
        raise ConfigError(f"[solver] objective = {objective!r} is for interactions; labelled rows take logistic or squared")
    return dataclasses.replace(made, data=data, solver={"objective": next(iter(OF_LABELS)), **made.solver})


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; expected a TOML file with a table [data]") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error


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
    put_back(folder)
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
