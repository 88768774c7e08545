"""A run folder on disk: written so that it is whole or not there, and read only if every byte is as it was written.

    run.json                 what it is: model, settings, data, protocols, metrics, versions, a hash of every file and its own
    weights.safetensors      the model
    history.safetensors      what the model's inputs are gathered from, and what each user has seen besides
    users.parquet            ids and columns, in the order of their indices
    items.parquet
    fields.safetensors       of runs on feature fields: what is known of users and items
    fields.parquet           and the categories of every field

Nothing in it is code, and nothing in it is run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors
from torch import Tensor

from attlas.data.fields import Features
from attlas.data.interactions import FACTS, Interactions
from attlas.data.keeping import arrays_of, facts_of, features_from, table_of
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ArtefactError
from attlas.training.checkpoint import write_whole

FORMAT = 1
MANIFEST = "run.json"
FILES = ("weights.safetensors", "history.safetensors", "users.parquet", "items.parquet")
OF_FIELDS = ("fields.safetensors", "fields.parquet")
OF_FITS = ("experiment.json", "metrics.jsonl", "fit.checkpoint", "refit.checkpoint", "final.checkpoint")  # beside them
OF_NOBODY = (".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints")


def write(
    folder: Path,
    card: dict[str, Any],
    weights: dict[str, Tensor],
    train: Interactions,
    seen: Interactions,
    features: Features | None = None,
) -> None:
    """Write a run into a folder; the manifest comes last, so that a folder without one is no run.

    Args:
        folder: made if it is not there.
        card: everything about the run that JSON can hold.
        weights: the model's state.
        train: what the model's inputs are gathered from.
        seen: further interactions whose items are not recommended.
        features: the fields, where there are more than the user and the item.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    arrays = {"user": train.user, "item": train.item, "seen_user": seen.user, "seen_item": seen.item}
    arrays |= train.facts | {f"seen_{name}": values for name, values in seen.facts.items()}
    whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    writers: dict[str, Callable[[Path], None]] = {
        "weights.safetensors": lambda path: save_tensors(tensors, path),
        "history.safetensors": lambda path: save_arrays(whole, path),
        "users.parquet": lambda path: _frame(train.users).write_parquet(path),
        "items.parquet": lambda path: _frame(train.items).write_parquet(path),
    }
    if features is not None:
        writers["fields.safetensors"] = lambda path: save_arrays(arrays_of(features), path)
        writers["fields.parquet"] = lambda path: table_of(features).write_parquet(path)
        card = {**card, "fields": facts_of(features)}
    for name, written in writers.items():
        write_whole(folder / name, written)
    sealed = {"format": FORMAT, **card, "files": {name: _facts(folder / name) for name in writers}}
    sealed["sha256"] = _seal(sealed)
    write_whole(folder / MANIFEST, (json.dumps(sealed, indent=2, ensure_ascii=False) + "\n").encode())


def write_anew(folder: Path, written: Callable[[Path], None], *, overwrite: bool) -> Path:
    """Fill a folder by a function, whole or not at all, and return it.

    Raises:
        ArtefactError: the folder is in use and ``overwrite`` is not set, it may not be replaced, or it cannot be written to.
    """
    put_back(folder)
    if folder.exists() and not folder.is_dir():
        raise ArtefactError(f"{folder} is a file; choose a folder for the run")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise ArtefactError(f"{folder} is not empty; choose another folder or overwrite it on purpose")
    refuse_replacing(folder)
    place = folder.resolve()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise ArtefactError(f"could not write {folder}: {error}") from error
    try:
        written(staged)
        staged.chmod(0o755)
        move_into_place(staged, place)
    except OSError as error:
        raise ArtefactError(f"could not write {folder}: {error}; what was there before still is") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def refuse_replacing(folder: Path) -> None:
    """Refuse to put a run in the place of a folder in which one stands, or that holds anything but a run.

    Raises:
        ArtefactError: it is such a folder.
    """
    with suppress(FileNotFoundError):  # whoever stands in a folder that is gone stands in none
        if Path.cwd().is_relative_to(folder.resolve()):
            raise ArtefactError(
                f"{folder} is where you stand, and it would be replaced; leave it first, or choose another folder"
            )
    ours = {MANIFEST, *FILES, *OF_FIELDS, *OF_FITS, *OF_NOBODY}
    names = sorted(child.name for child in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if name not in ours and not name.startswith(".tmp") and not _is_half(name)]
    if others:
        raise ArtefactError(f"{folder} holds {others[0]}, which is no part of a run and would be lost; move it elsewhere first")


def _is_half(name: str) -> bool:
    """Whether a kill left it half written."""
    return name.startswith(".") and name.endswith(".part")


def move_into_place(staged: Path, folder: Path) -> None:
    """Put a finished folder where another may stand; the other goes only when this one is there, and else comes back."""
    folder = folder.resolve()
    put_back(folder)
    old = _aside(folder)
    try:
        _swap(staged, folder, old)
    finally:
        put_back(folder)
    shutil.rmtree(old, ignore_errors=True)


def _swap(staged: Path, folder: Path, old: Path) -> None:
    for is_last in (False, False, True):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        try:
            staged.rename(folder)
            return
        except OSError:
            if is_last or not folder.exists():  # only where a reader has put the old one back is it tried again
                raise


def put_back(folder: Path) -> None:
    """Undo what a kill left of ``move_into_place`` between its two steps: what was to be replaced is in its place again."""
    with suppress(OSError, ValueError, RuntimeError):  # what cannot be moved, named or resolved the next one complains of
        place = folder.resolve()
        if not place.exists() and (old := _aside(place)).is_dir():
            old.rename(place)


def _aside(folder: Path) -> Path:
    """Where what is to be replaced waits until the new one is there."""
    place = folder.resolve()  # "." has no name
    return place.with_name(f".{place.name}.old")


def read_card(folder: Path) -> dict[str, Any]:
    """The manifest of a run, checked against its own hash.

    Raises:
        ArtefactError: no run, an unfinished one, one of another version, or one that was altered.
    """
    put_back(folder)
    if not (folder / MANIFEST).is_file():
        state = "a fit that has not finished; go on with: attlas fit --resume" if is_unfinished(folder) else "no run folder"
        what = f"{state} {folder}" if is_unfinished(folder) else f"{state}; expected {MANIFEST} in it"
        raise ArtefactError(f"{folder} is {what}")
    try:
        card = json.loads((folder / MANIFEST).read_bytes())
        claimed, found = card["sha256"], card["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / MANIFEST} is not whole or not ours; the run must be made or copied anew") from error
    if found != FORMAT:
        raise ArtefactError(f"{folder} has format {found}, this attlas reads format {FORMAT}; install the attlas that wrote it")
    if claimed != _seal(card):
        raise ArtefactError(f"{folder / MANIFEST} was altered after it was written; the run must be made or copied anew")
    return dict(card)


def is_unfinished(folder: Path) -> bool:
    """Whether a fit was begun there and has not been finished."""
    return (folder / "experiment.json").is_file() and not (folder / MANIFEST).is_file()


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], Interactions, Interactions]:
    """A run as ``write`` was given it: card, weights, train, seen.

    Raises:
        ArtefactError: a file is missing, truncated or altered.
    """
    card = read_card(folder)
    for name, facts in card["files"].items():
        _check(folder / name, facts)
    try:
        weights = load_tensors(folder / "weights.safetensors")
        arrays = load_arrays(folder / "history.safetensors")
        users = _vocabulary(_table(folder / "users.parquet"), "user")
        items = _vocabulary(_table(folder / "items.parquet"), "item")
        facts = {name: arrays[name] for name in FACTS if name in arrays}
        train = Interactions(users, items, arrays["user"], arrays["item"], **facts)
        held = {name: arrays[f"seen_{name}"] for name in FACTS if f"seen_{name}" in arrays}
        seen = Interactions(users, items, arrays["seen_user"], arrays["seen_item"], **held)
    except (SafetensorError, pl.exceptions.PolarsError, KeyError) as error:
        raise ArtefactError(f"{folder} cannot be read ({error}); the run must be made or copied anew") from error
    return card, weights, train, seen


def read_features(folder: Path, card: dict[str, Any], train: Interactions) -> Features | None:
    """The fields of a run that ``read`` has found whole; None where the user and the item are all.

    Raises:
        ArtefactError: they cannot be read.
    """
    if "fields" not in card:
        return None
    try:
        arrays, table = load_arrays(folder / OF_FIELDS[0]), _table(folder / OF_FIELDS[1])
        return features_from(card["fields"], table, arrays, train.users, train.items)
    except (SafetensorError, pl.exceptions.PolarsError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder} cannot be read ({error}); the run must be made or copied anew") from error


def _table(path: Path) -> pl.DataFrame:
    """A Parquet file, whose path is no pattern and names no columns."""
    return pl.read_parquet(path, glob=False, hive_partitioning=False)


def _check(path: Path, facts: dict[str, Any]) -> None:
    if not path.is_file():
        raise ArtefactError(f"{path} is missing; the run must be made or copied anew")
    size = path.stat().st_size
    if size != facts["bytes"]:
        raise ArtefactError(f"{path} has {size:,} bytes instead of {facts['bytes']:,}: truncated or altered; copy the run anew")
    if _hash(path) != facts["sha256"]:
        raise ArtefactError(f"{path} was altered after it was written; the run must be made or copied anew")


def _facts(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": _hash(path)}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(card: dict[str, Any]) -> str:
    content = {name: value for name, value in card.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _frame(vocabulary: Vocabulary) -> pl.DataFrame:
    frame = pl.DataFrame({"__id__": vocabulary.ids})
    return frame if vocabulary.columns is None else frame.hstack(vocabulary.columns)


def _vocabulary(frame: pl.DataFrame, noun: str) -> Vocabulary:
    columns = frame.drop("__id__")
    return Vocabulary(frame["__id__"], columns if columns.width else None, noun=noun)
