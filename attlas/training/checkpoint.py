"""Stop anywhere, go on as if nothing happened.

A checkpoint is one safetensors file, written beside its place and then moved there in one step: a kill at any moment
leaves either the old one or the new one, whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polars.exceptions import PolarsError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from attlas.errors import ArtefactError


@dataclass(frozen=True)
class Progress:
    """How far a fit has come: after which epoch, at which losses, with which tensors.

    Attributes:
        epoch: epochs done.
        losses: the mean loss of each.
        is_over: whether early stopping has spoken.
        plain: other values that JSON can hold.
        tensors: weights and the solver's state, each under its own name.
    """

    epoch: int
    losses: list[float]
    is_over: bool
    plain: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoint:
    """One place on disk that holds the latest progress of one fit."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def save(self, progress: Progress) -> None:
        """Replace what is there, in one step."""
        plain = {"epoch": progress.epoch, "losses": progress.losses, "is_over": progress.is_over, "plain": progress.plain}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in progress.tensors.items()}
        said = {"progress": json.dumps(plain)}
        write_whole(self.path, lambda path: save_file(tensors, path, metadata=said))

    def load(self) -> Progress | None:
        """The latest progress, or None if there is none.

        Raises:
            ArtefactError: the file is not a checkpoint of ours.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                plain = json.loads(file.metadata()["progress"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Progress(**plain, tensors=tensors)
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ArtefactError(f"{self.path} is not a whole checkpoint ({error}); delete it and fit anew") from error

    def delete(self) -> None:
        """Forget the progress, once it is no longer needed."""
        self.path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write a file so that it is either there as a whole or as it was before.

    Args:
        path: where it shall be; its folder is made.
        content: the bytes, or a function that writes them to the path it is given.

    Raises:
        ArtefactError: the disk is full or the folder cannot be written to; what was there before still is.
    """
    staged = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            staged.write_bytes(content)
        else:
            content(staged)
        with staged.open("rb+") as file:
            os.fsync(file.fileno())
        staged.chmod(0o644)
        staged.replace(path)
    except (OSError, SafetensorError, PolarsError) as error:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise ArtefactError(f"could not write {path}: {error}; nothing half-written was left") from error
