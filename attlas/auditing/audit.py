"""One audit of whatever there is: a run, a table, settings, a split, rows."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attlas.artefact import MANIFEST
from attlas.auditing.data import audit_rows, audit_table
from attlas.auditing.examples import audit_examples
from attlas.auditing.finding import SEVERITIES, Finding, Severity, by_severity, not_reproduced, worst
from attlas.auditing.labelled import audit_reader
from attlas.auditing.measuring import Bench
from attlas.auditing.model import of_model
from attlas.auditing.settings import audit_settings
from attlas.auditing.split import audit_split, of_split
from attlas.data.examples import Examples
from attlas.data.given import given_files
from attlas.data.interactions import Interactions
from attlas.data.labelled import given_examples
from attlas.data.split import Split, looks_like_split
from attlas.errors import ArtefactError, ConfigError
from attlas.evaluation.naming import counted
from attlas.experiment import Experiment, read_toml
from attlas.loading import DataConfig, label_of, labelled, load_rows, load_split
from attlas.recommender import Recommender, load
from attlas.settings import build
from attlas.telling import Teller
from attlas.trial import refuse_other_data, together

COMPARED = {"compare", "contenders"}  # tables that make a TOML file one of a comparison


@dataclass(frozen=True)
class Audit:
    """What an audit has found.

    Attributes:
        subject: what was looked at.
        findings: the worst first.
    """

    subject: str
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity | None:
        """The highest severity; None where nothing was found."""
        return worst(self.findings)

    def reaches(self, severity: Severity) -> bool:
        """Whether anything is as bad as that, or worse."""
        return self.worst is not None and SEVERITIES.index(self.worst) >= SEVERITIES.index(severity)

    def sentence(self) -> str:
        """``runs/delf: 1 error, 2 warnings, 5 infos``."""
        count = Counter(finding.severity for finding in self.findings)
        said = ", ".join(counted(count[severity], severity) for severity in reversed(SEVERITIES) if count[severity])
        return f"{self.subject}: {said or 'nothing found'}"

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "subject": self.subject,
            "worst": self.worst,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def audit(
    subject: Any,
    *,
    data: Any = None,
    config: DataConfig | None = None,
    tell: Teller | None = None,
) -> Audit:
    """Look for what makes a number too good to be true.

    Args:
        subject: a run folder, a Recommender, a TOML file or an Experiment, a table or a folder of given files, a frame,
            Interactions or a Split. Of a TOML file for ``attlas compare`` the data and their split are looked at.
        data: for a run, a Recommender and settings: where the data are now, or the data; None means where they were.
        config: for data: columns, cleaning and how to split; None guesses.
        tell: shows bars.

    Raises:
        ArtefactError: no whole run, a comparison of many, or other data than it was made with.
        ConfigError: settings that do not fit, or data that are needed and not given.
        DataError: the data cannot be understood.
    """
    tell = tell or Teller()
    if isinstance(subject, str | Path):
        path = Path(subject)
        if path.suffix == ".toml":
            return _of_toml(path, data, tell)
        _refuse_comparison(path)
        if (path / MANIFEST).is_file() or (path / "experiment.json").is_file():
            return _of_run(load(path), data, tell, str(path))
    if isinstance(subject, Experiment):
        return _of_experiment(subject, data, tell, subject.data.source or "settings")
    if isinstance(subject, Recommender):
        return _of_run(subject, data, tell, subject.card["model"]["name"])
    if data is not None:
        raise ConfigError("data goes with a run or with settings; give data alone as what to audit")
    return _of_data(subject, config or DataConfig(), tell)


def _of_data(data: Any, config: DataConfig, tell: Teller) -> Audit:
    config, rows = _placed(config, data)
    split, found = _loaded(config, rows, tell)
    return _made(config.source or type(data).__name__, found + _of_parts(split, tell))


def _of_parts(split: Split, tell: Teller) -> list[Finding]:
    """What is wrong with a split of interactions; of labelled rows it was said with the rows."""
    return [] if isinstance(split.train, Examples) else audit_split(split, tell=tell)


def _of_toml(path: Path, data: Any, tell: Teller) -> Audit:
    tables = read_toml(path)
    if not COMPARED & set(tables):
        return _of_experiment(Experiment.of(tables), data, tell, str(path))
    split, found = _loaded(*_placed(build(DataConfig, tables.get("data", {}), where="data"), data), tell)
    return _made(str(path), found + _of_parts(split, tell))


def _refuse_comparison(folder: Path) -> None:
    """A comparison is many runs; its own findings stand in its report.

    Raises:
        ArtefactError: the folder is one; the message names its runs.
    """
    if not (folder / "plan.json").is_file() or looks_like_split(folder):
        return
    runs = [run for run in (folder / "winner", *sorted(folder.glob("*/run"))) if (run / MANIFEST).is_file()]
    said = (
        f"audit one of its runs: {', '.join(map(str, runs))}"
        if runs
        else f"it has no run yet: attlas compare --resume {folder}"
    )
    raise ArtefactError(f"{folder} is a comparison of many models; {said}")


def _placed(config: DataConfig, data: Any) -> tuple[DataConfig, Any]:
    """The settings and the data to load by them: a path says where the data are now."""
    return (dataclasses.replace(config, source=str(data)), None) if isinstance(data, str | Path) else (config, data)


def _of_experiment(experiment: Experiment, data: Any, tell: Teller, subject: str) -> Audit:
    split, found = _loaded(*_placed(experiment.data, data), tell)
    if isinstance(split.train, Examples):
        return _made(subject, found + audit_settings(experiment, split))
    ranked = tuple(code for code in experiment.evaluation.protocol if code != "rating")
    codes = ("rating",) if experiment.task == "rating" else ranked
    return _made(subject, found + audit_settings(experiment, split) + audit_split(split, codes=codes, tell=tell))


def _of_run(recommender: Recommender, data: Any, tell: Teller, subject: str) -> Audit:
    card, scorer = recommender.card, recommender.scorer
    if "final" in card:
        raise ArtefactError(
            f"{subject} was trained on all rows, its test rows too, and has no number to audit; audit {card['final']['of']}"
        )
    experiment = Experiment.of(card["experiment"])
    config, rows = _placed(experiment.data, data)
    if data is None and not config.source:
        raise ConfigError(f"{subject} was made from data in memory, which attlas did not keep; pass them again as data")
    split, found = _loaded(config, rows, tell)
    refuse_other_data(split, card, Path(subject))
    if isinstance(split.train, Examples):
        name = card["model"]["name"]
        found += audit_settings(experiment, split, subject=name)
        found += audit_reader(scorer, split, experiment.task, name=name, reports=card["reports"])
        return _made(subject, found + _of_card(card))
    codes = tuple(report["protocol"] for report in card["reports"] if report["protocol"] != "rating") or ("rating",)
    bench = Bench(scorer, split, codes, experiment.evaluation.k[0], card["model"]["name"], tell)
    found += of_split(bench)
    found += audit_settings(experiment, split, subject=bench.name)
    return _made(subject, [*found, *of_model(bench), *_reported(bench, card["reports"]), *_of_card(card)])


def _reported(bench: Bench, reports: list[dict[str, Any]]) -> Iterator[Finding]:
    """A number that does not come again."""
    for report in reports:
        code, told = report["protocol"], report["means"]
        known = bench.all_rows(code)
        if known is None:
            continue
        for name, again in known.values.items():
            if name in told:
                chance = bench.chance(code, name, told[name])
                yield from not_reproduced(bench.name, name, told[name], again, known.whose, chance=chance)


def _loaded(config: DataConfig, data: Any, tell: Teller) -> tuple[Split, list[Finding]]:
    """The split, and what is wrong with the rows that it was cut from."""
    config = labelled(dataclasses.replace(config, label=label_of(data).get("label", config.label)))
    if config.label is not None:
        split, said = load_split(config, data)
        for sentence in said:
            tell.say(sentence)
        return split, (_same_files(given_examples(config.source)) if data is None else []) + audit_examples(split)
    rows = load_rows(config, data)
    split, said = load_split(config, data if rows is None else rows)
    for sentence in said:
        tell.say(sentence)
    if rows is None:
        found = _of_files(Path(config.source)) if data is None else []
        return split, found + audit_rows(together(split.train, split.valid, split.given).without_repeats())
    source = config.source if data is None else data
    columns, has_repeats = rows.origin.columns, bool(rows.origin.repeats)
    table = [] if isinstance(source, Interactions) else audit_table(source, config.separator, columns, has_repeats=has_repeats)
    return split, table + audit_rows(rows)


def _of_files(folder: Path) -> list[Finding]:
    """Files of a given split that hold the same bytes: a validation file that is the test, or a test that is training."""
    return _same_files({"test": given_files(folder)["test"]})


def _same_files(given: Mapping[str, Path]) -> list[Finding]:
    """Files beside that of the test part which are it again."""
    if not given:
        return []
    test, folder = given["test"], given["test"].parent
    wanted = _hash(test)
    same = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and file != test and file.stat().st_size == test.stat().st_size
    ]
    return [
        Finding(
            "validation-is-test",
            "error",
            "files",
            f"{file.name} is {test.name} again, byte by byte",
            1.0,
            "whoever stops early or chooses settings by it has chosen by the test, and numbers published so are too high",
            "attlas does not read it; cut validation from training: [data] validation",
        )
        for file in same
        if _hash(file) == wanted
    ]


def _of_card(card: dict[str, Any]) -> list[Finding]:
    """What the history of a run says: one that was still getting better when its epochs were over.

    Where a search or a comparison chose the epochs, the last one is the best by its making, and nothing is said.
    """
    if card["training"].get("chosen"):
        return []
    valid, done = card["training"]["valid"], card["training"]["epochs"]
    limit = card["experiment"]["training"]["epochs"]
    if not valid or valid["epoch"] != limit or done != limit or limit == 1 or len(card["training"]["losses"]) < 2:
        return []
    return [
        Finding(
            "still-rising",
            "info",
            card["model"]["name"],
            f"its best epoch is its last, {limit}: it was getting better when its epochs were over",
            float(limit),
            f"{valid['metric']} on validation was {valid['value']:.4f} and rising; more epochs may give more",
            "fit with more epochs; a rival that was trained to its end is not to be compared with it",
        )
    ]


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _made(subject: str, found: list[Finding]) -> Audit:
    return Audit(subject, tuple(by_severity(found)))
