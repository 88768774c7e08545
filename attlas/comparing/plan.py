"""Which models a comparison asks, with which settings and how much of what."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from attlas.durations import parse_seconds
from attlas.errors import ConfigError, nearest
from attlas.evaluation.naming import LEADING, find_metric
from attlas.evaluation.sampled import EXPECTED
from attlas.experiment import Experiment, read_toml
from attlas.loading import DataConfig, labelled
from attlas.models import MODELS, model_class
from attlas.models.protocol import task_of
from attlas.settings import build
from attlas.training.solvers import OF_LABELS

LADDER = ("popularity", "ease", "itemknn", "slim", "ials", "mf")  # the quick ones first; they leave time to the others
RATERS: dict[str, dict[str, Any]] = {  # the ladder of a comparison of ratings, by name
    "biases": {"name": "biased_mf", "embedding_dim": 0},
    "biased_mf": {"name": "biased_mf"},
}
READERS: dict[str, dict[str, Any]] = {  # of labelled rows: the mean label, that of each item, a weight per feature, and FM
    "mean": {"name": "linear", "reads": "nothing"},
    "item-rates": {"name": "linear", "reads": "item"},
    "linear": {"name": "linear", "reads": "all"},
    "fm": {"name": "fm"},
}
LADDERS = {"ranking": {name: {"name": name} for name in LADDER}, "rating": RATERS, "label": READERS, "target": READERS}
DEFAULT = ("delf",)
DEFAULT_READERS = ("nfm", "deepfm", "afm")  # where labelled rows are compared and nobody names a model
RESERVED = ("winner", "plan.json", "comparison.json", "table.md", "table.tex", "report.html")  # of the comparison itself
OWN_TRAINING = ("epochs", "patience")  # what a variant may have for itself; all else is alike for all
TABLES = ("data", "compare", "contenders")
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class CompareConfig:
    """What a comparison gives to every model alike.

    Attributes:
        models: names of models that the ladder of baselines is held against; None takes delf, and of labelled rows nfm, deepfm
            and afm.
        without: names of baselines that shall not run.
        trials: settings tried per model at most, the first with the defaults.
        budget: time for everything, such as 10m or 2h, in equal shares of what is left; None means as long as it takes.
        seeds: fits per model with the settings that won, where anything is drawn at random.
        metric: by which validation chooses and the table is ordered, in full ranking; among models of ratings it is their
            error, and on labelled rows logloss or auc, or rmse. None means ndcg@10, rmse or logloss, whichever fits.
        objective: of labelled rows what all models learn: logistic, the logit of the label, or squared, +1 and -1.
        protocol: codes beside full; () means ncf where the files give candidates.
        k: the cut-offs.
        refit: whether the last fits learn from the validation part too.
        epochs, patience: of fits that learn in epochs: at most so many, and how many may pass without a new best.
        seed: what weights, orders, negatives and the search depend on; further seeds follow it.
        device: cpu or cuda.
        memory: what fitting may use, such as 4GB; None means what the machine has available.
    """

    models: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    trials: int = Field(default=20, ge=1)
    budget: str | None = None
    seeds: int = Field(default=3, ge=1)
    metric: str | None = None
    objective: Literal["logistic", "squared"] | None = None
    protocol: tuple[str, ...] = ()
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(10, 20), min_length=1)
    refit: bool = True
    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=3, ge=1)
    seed: int = Field(default=1, ge=0)
    device: str = "cpu"
    memory: str | None = None

    @property
    def seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_seconds(self.budget)

    @property
    def cuts(self) -> tuple[int, ...]:
        """The cut-offs of rankings, that of the metric among them.

        Raises:
            ConfigError: there is no such metric, or no report shows it.
        """
        metric = self.metric or LEADING["ranking"]
        name, cut = find_metric(metric, "ranking")
        if name in EXPECTED:
            raise ConfigError(
                f"[compare] metric = {metric!r} is for validation alone, and a table is ordered by what it shows; "
                f"write {metric.removeprefix('sampled_')!r}"
            )
        return tuple(sorted({*self.k, cut})) if cut else self.k

    def words(self) -> str:
        """What every model was given, for people."""
        share = "" if self.budget is None else f" within an equal share of what those before it left of {self.budget}"
        trials = "1 trial" if self.trials == 1 else f"up to {self.trials} trials"
        return f"{trials}{share}, {self.seeds} {'seed' if self.seeds == 1 else 'seeds'}"


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One model before it has run.

    Attributes:
        name: what it is called in the comparison.
        experiment: the settings of its first trial.
        fixed: settings that the person chose, which are not searched.
        is_baseline: whether it is of the ladder.
    """

    name: str
    experiment: Experiment
    fixed: tuple[str, ...]
    is_baseline: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides a comparison.

    Attributes:
        data, compare: the tables of these names.
        contenders: variants by their names, each with tables ``model``, ``solver`` and ``training`` of what is fixed.
    """

    data: DataConfig
    compare: CompareConfig
    contenders: dict[str, dict[str, dict[str, Any]]]

    @classmethod
    def of(cls, tables: Mapping[str, Any]) -> Plan:
        """From the tables of a TOML file.

        Raises:
            ConfigError: an unknown table, key or model, or a value that does not fit.
        """
        for name, table in tables.items():
            if name not in TABLES:
                raise ConfigError(f"a comparison has no table [{name}]; {nearest(name, TABLES)}")
            if not isinstance(table, Mapping):
                raise ConfigError(f"{name} = {table!r} stands alone; write it as a table: [{name}]")
        contenders = {name: _checked(name, table) for name, table in tables.get("contenders", {}).items()}
        made = cls(
            labelled(build(DataConfig, tables.get("data", {}), where="data")),
            build(CompareConfig, tables.get("compare", {}), where="compare"),
            contenders,
        )
        made.compare.seconds  # noqa: B018  a budget that is none is refused here
        made.entrants(has_candidates=False)
        return made

    @classmethod
    def from_file(cls, path: str | Path) -> Plan:
        """From a TOML file; paths in it are taken from the folder one stands in."""
        return cls.of(read_toml(path))

    def to_dict(self) -> dict[str, Any]:
        """The tables again, ready for JSON, the leading metric spelled out."""
        compare = {**dataclasses.asdict(self.compare), "metric": self.metric}
        return {"data": dataclasses.asdict(self.data), "compare": compare, "contenders": self.contenders}

    @property
    def task(self) -> Literal["ranking", "rating", "label", "target"]:
        """What the models' scores are: of labelled rows by the objective; ``rating`` where all that was asked for rates."""
        if self.data.label is not None:
            return OF_LABELS[self.objective]  # type: ignore[return-value]
        models = [name for name in self.asked if name not in self.contenders]
        models += [tables.get("model", {}).get("name", name) for name, tables in self.contenders.items()]
        rates = [task_of(model_class(model)) == "rating" for model in models if model in MODELS]
        return "rating" if rates and all(rates) else "ranking"

    @property
    def asked(self) -> tuple[str, ...]:
        """The models that were named, or those that are asked where nobody is."""
        if self.compare.models is not None:
            return self.compare.models
        return DEFAULT if self.data.label is None else DEFAULT_READERS

    @property
    def objective(self) -> str:
        """What models of labelled rows learn."""
        return self.compare.objective or next(iter(OF_LABELS))

    @property
    def metric(self) -> str:
        """The leading metric, or the leading error."""
        return self.compare.metric or LEADING[self.task]

    def entrants(self, *, has_candidates: bool) -> list[Entrant]:
        """Who takes part, the ladder first.

        Args:
            has_candidates: whether the split came with candidates.
        """
        config = self.compare
        self._refuse_unknown()
        ladder = {name: model for name, model in self.ladder.items() if name not in (*config.without, *self.contenders)}
        others = [name for name in self.asked if name not in (*ladder, *self.contenders)]
        named = {name: {"model": model} for name, model in (ladder | {name: {"name": name} for name in others}).items()}
        for name, tables in self.contenders.items():
            named[name] = {**tables, "model": {"name": name, **tables.get("model", {})}}
        return [self._entrant(name, tables, has_candidates) for name, tables in named.items()]

    @property
    def ladder(self) -> dict[str, dict[str, Any]]:
        """The settings of the baselines that claims are held against, by name."""
        return LADDERS[self.task]

    def _refuse_unknown(self) -> None:
        if self.compare.objective and self.data.label is None:
            raise ConfigError("[compare] objective is for labelled rows, and these are none; name their column: [data] label")
        for name in (*self.asked, *self.compare.without):
            if name not in (*MODELS, *self.ladder, *self.contenders):
                raise ConfigError(f"[compare] names {name!r}; {nearest(name, (*MODELS, *self.contenders))}")
        for name in self.compare.without:
            if name not in self.ladder:
                raise ConfigError(f"[compare] without {name!r}: it is not of the ladder; leave it out of models instead")

    def _entrant(self, name: str, tables: Mapping[str, Any], has_candidates: bool) -> Entrant:
        config, model, task = self.compare, tables["model"], self.task
        if task == "ranking":
            _refuse_ratings(name, str(model["name"]))
        learns = {"objective": self.objective} if self.data.label is not None else {}
        measured = OF_LABELS.get(tables.get("solver", {}).get("objective", self.objective))
        if learns and measured not in (None, task):
            raise ConfigError(
                f"{name} is measured as {measured!r} and the others as {task!r}, which do not compare; leave its objective "
                "out, and choose one for all: [compare] objective"
            )
        codes = config.protocol or (("full", "ncf") if has_candidates else ("full",))
        ranked = {"protocol": tuple(dict.fromkeys(("full", *codes))), "k": config.cuts} if task == "ranking" else {}
        experiment = Experiment.of(
            {
                "data": dataclasses.asdict(self.data),
                "model": model,
                "solver": {**learns, **tables.get("solver", {})},
                "training": {
                    **{key: getattr(config, key) for key in ("epochs", "patience", "refit", "seed", "device", "memory")},
                    "metric": self.metric,
                    **tables.get("training", {}),
                },
                "evaluation": ranked,
            }
        )
        fixed = [f"model.{key}" for key in model if key != "name"] + [f"solver.{key}" for key in tables.get("solver", {})]
        is_baseline = name in self.ladder and name not in self.contenders
        return Entrant(name, experiment, tuple(fixed), is_baseline)


def _checked(name: str, tables: Any) -> dict[str, dict[str, Any]]:
    """The tables of a variant.

    Raises:
        ConfigError: its name is none for a folder, or a table does not belong there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or name in RESERVED:
        raise ConfigError(
            f"[contenders] {name!r} cannot be the name of a folder; write letters, digits, '-', '+', '.' and '_', and none of "
            f"{', '.join(RESERVED)}"
        )
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        raise ConfigError(f"[contenders] {name} = {tables!r} does not fit; write tables, such as [contenders.{name}.model]")
    for table in tables:
        if table not in ("model", "solver", "training"):
            raise ConfigError(f"[contenders.{name}] has no table {table!r}; {nearest(table, ('model', 'solver', 'training'))}")
    for setting in tables.get("training", {}):
        if setting not in OWN_TRAINING:
            raise ConfigError(
                f"[contenders.{name}.training] {setting} is alike for all and stands in [compare]; a variant has only "
                f"{' and '.join(OWN_TRAINING)} of its own"
            )
    return {table: dict(settings) for table, settings in tables.items()}


def _refuse_ratings(name: str, model: str) -> None:
    if task_of(model_class(model)) == "rating":
        raise ConfigError(f"{name} predicts ratings, and the others rank; compare models of ratings among themselves")
