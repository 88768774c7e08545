"""What an experiment learns from: the settings of ``[data]``, the rows they name and the split they ask for."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from attlas.data.examples import Examples, parts_by_ratio
from attlas.data.interactions import Interactions
from attlas.data.labelled import LABEL, Layout, given_examples, is_libfm, read_by_ratio, read_parts, read_together
from attlas.data.readers import read
from attlas.data.split import Split, looks_like_split, read_split
from attlas.data.split import split as split_by
from attlas.errors import ConfigError


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DataConfig:
    """What to learn from.

    Attributes:
        source: a file, or a folder of given files; "" where the data are passed in.
        split: how to hold out: a code of ``attlas.split``; given files keep theirs.
        validation: for given files, how validation is cut from training: auto, leave-last-out, leave-random-out or none;
            elsewhere auto, as ``split`` says, or none.
        seed: what random splits depend on.
        user, item, rating, time: names of columns; None guesses.
        separator: what stands between columns; None finds out.
        items, users: files with titles and other facts about the items, and about the users.
        repeat: what several rows of one user and item become: count, sum:COLUMN, first or last.
        positive: the condition that a row must meet, such as rating>=4.
        min_user, min_item: how many items a user and how many users an item must have, both at once.
        since: rows before this date, or these seconds since 1970, are left out.
        returns: what negative amounts do: drop leaves their rows out, cancel takes them from earlier purchases.
        label: the column of labels, which makes the rows examples of feature fields; libFM text has one by itself.
        fields, numbers, buckets, bags, user_fields, item_fields: of examples, what their columns are; see
            ``attlas.data.labelled.Layout``.
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
    label: str | None = None
    fields: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    buckets: dict[str, Annotated[int, Field(ge=2)]] = Field(default_factory=dict)
    bags: tuple[str, ...] = ()
    user_fields: tuple[str, ...] = ()
    item_fields: tuple[str, ...] = ()

    def cleaning(self) -> dict[str, Any]:
        """What the rows become, as ``attlas.read`` takes it."""
        return {name: getattr(self, name) for name in ("repeat", "positive", "min_user", "min_item", "since", "returns")}


def load_split(config: DataConfig, data: Any = None) -> tuple[Split, list[str]]:
    """The split that the settings ask for, and what a person should hear about it.

    Args:
        config: the settings.
        data: a Split, Interactions or a frame; None reads ``config.source``.
    """
    if config.label is not None:
        return _load_examples(config, data)
    if isinstance(data, Split):
        return data, []
    rows, why = load_rows(config, data), ""
    if rows is None:
        if config.split != "auto":
            raise ConfigError(f"{config.source} is split already; leave [data] split out, or read one of its files alone")
        if changed := _changed(config, "users"):
            raise ConfigError(f"{config.source} is split already, its rows stay as they are; leave out [data] {changed}")
        made = read_split(config.source, validation=config.validation, seed=config.seed, items=config.items)
        said = made.train.origin.sentences() + _oddities(made)
    else:
        _refuse_validation(config)
        made = split_by(rows, config.split, config.seed, valid=0.0 if config.validation == "none" else None)
        said = rows.origin.sentences()
        if config.split == "auto":
            why = f" (chosen since {'no times' if rows.time is None else 'times'} are known)"
    held = len(made.valid) if made.valid else 0
    said.append(f"split {made.code}{why}: {len(made.train):,} rows train, {held:,} validation, {len(made.test):,} test")
    return made, said + _strangers(made) + [f"{count:,} {reason}" for reason, count in made.dropped.items() if count]


def labelled(config: DataConfig) -> DataConfig:
    """The same settings; where the source says by itself that it holds labelled rows, with the column of their labels."""
    if config.label is None and config.source and (given_examples(config.source) or is_libfm(config.source)):
        return dataclasses.replace(config, label=LABEL)
    return config


def label_of(data: Any) -> dict[str, str]:
    """What ``[data]`` has to say where data in memory are labelled rows, or a split of them; nothing elsewhere."""
    return {"label": LABEL} if isinstance(data.train if isinstance(data, Split) else data, Examples) else {}


def _load_examples(config: DataConfig, data: Any) -> tuple[Split, list[str]]:
    """Labelled rows that were split already, or split at random."""
    if isinstance(data, Split):
        return data, []
    if changed := _changed(config, "users", "items", "rating", "time"):
        raise ConfigError(
            f"[data] {changed} is for interactions, and labelled rows are read as they are; leave it out, and name what is "
            "known of users and items as user_fields and item_fields"
        )
    _refuse_validation(config)
    layout = _layout(config)
    given, said, code = given_examples(config.source) if data is None else {}, [], "given"
    if given:
        train, *others = read_parts([given[part] for part in ("train", "valid", "test") if part in given], layout)
        valid, test = others[0] if len(others) == 2 and config.validation != "none" else None, others[-1]
    else:
        if config.split not in ("auto", "global-ratio"):
            raise ConfigError(f"[data] split = {config.split!r} is for interactions; labelled rows split by 'global-ratio'")
        share = {"valid": 0.0} if config.validation == "none" else {}
        if isinstance(data, Examples):
            train, valid, test = parts_by_ratio(data, seed=config.seed, **share)
        else:
            source = config.source if data is None else data
            train, valid, test = read_by_ratio(source, layout, seed=config.seed, **share)
        code = "global-ratio"
    unknown = [int((part.index == part.features.unknown).sum()) for part in (train, test)]
    said += [f"fields {', '.join(f'{one.name} ({one.role}, {len(one.known):,})' for one in train.features.fields)}"]
    said += [f"split {code}: {len(train):,} rows train, {len(valid) if valid else 0:,} validation, {len(test):,} test"]
    said += [f"{unknown[1]:,} cells of the test rows are unknown to training"] if unknown[1] else []
    parts: dict[str, Any] = {"train": train, "valid": valid, "test": test}
    return Split(**parts, code=code), said


def _layout(config: DataConfig) -> Layout:
    return Layout(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Layout)})


def load_examples(config: DataConfig, data: Any = None) -> Examples:
    """All labelled rows that the parts of a split are made of, none of whose categories is unknown.

    Args:
        data: Examples, a frame or a Split; of a Split what its training has not seen stays unknown. None reads the source.
    """
    if isinstance(data, Split):
        train: Any = data.train
        return train.joined(data.valid, data.test)
    if isinstance(data, Examples):
        return data
    given = given_examples(config.source) if data is None else {}
    files = [given[part] for part in ("train", "valid", "test") if part in given]
    return read_together(files or [config.source if data is None else data], _layout(config))


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
    names = {name: getattr(config, name) for name in ("user", "item", "rating", "time", "separator", "items", "users")}
    return read(config.source if data is None else data, **names, **config.cleaning())


def _changed(config: DataConfig, *more: str) -> str:
    """Which settings of cleaning, and which more, are not as they are by default; "" for none."""
    default = DataConfig()
    return ", ".join(name for name in (*config.cleaning(), *more) if getattr(config, name) != getattr(default, name))


def _refuse_validation(config: DataConfig) -> None:
    """Refuse to cut validation in a way that is for given files of interactions alone."""
    if config.validation not in ("auto", "none"):
        raise ConfigError(
            f"[data] validation = {config.validation!r} is for given files such as NAME.train.rating; elsewhere validation is "
            "'auto', held out as [data] split says, or 'none'"
        )
