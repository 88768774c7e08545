"""A fit that begins with the weights of runs before it: of the same model, or of the parts that a model fuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from attlas.data.interactions import Interactions
from attlas.errors import ArtefactError, ConfigError
from attlas.models.protocol import Fusing
from attlas.recommender import load


def start(model: nn.Module, folders: Sequence[str], train: Interactions) -> None:
    """Give a fresh model the weights of finished runs.

    Args:
        model: where the weights go; one run of the same model gives all of them, several are parts that it fuses.
        folders: of the runs.
        train: what the model will learn from; the runs may not know more, for what is held out is measured.

    Raises:
        ArtefactError: no whole run, or one of other users, items or rows.
        ConfigError: what the runs hold does not fit the model.
    """
    runs = [load(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        known = run.inputs.train
        if not all(getattr(known, side).ids.equals(getattr(train, side).ids) for side in ("users", "items")):
            raise ArtefactError(f"{folder} knows other users or items than these data; start from a run of the same data")
        more = int((known.by_user > train.by_user).sum())
        if more:
            said = f"{folder} learnt from {more:,} rows that are held out here"
            raise ArtefactError(f"{said}; start from a run of the same split, made without refit")
    parts = [run.model for run in runs]
    if isinstance(model, Fusing) and [type(part) for part in parts] != [type(model)]:
        model.fuse(*parts)
    else:
        _copy(model, parts)


def _copy(model: nn.Module, parts: Sequence[nn.Module]) -> None:
    name = type(model).__name__
    if [type(part) for part in parts] != [type(model)]:
        given = " and ".join(type(part).__name__ for part in parts)
        raise ConfigError(f"{name} starts from one run of {name}, for it fuses no parts; got {given}")
    (part,) = parts
    try:
        model.load_state_dict(part.state_dict())
    except RuntimeError as error:
        config: Any = part.config
        raise ConfigError(f"{name} is of other sizes than the run that it should start from; give it {config}") from error
