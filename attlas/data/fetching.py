"""A public data set into a folder: fetched, checked, unpacked, and noted in ``fetched.json`` beside it.

What the registry gives no checksum for is believed at first sight; its SHA-256 is noted then, and compared ever after.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attlas.data.converting import CONVERTERS
from attlas.data.datasets import Dataset, Source
from attlas.data.downloading import Patience, digest_of, discard_card, download
from attlas.data.unpacking import unpack
from attlas.errors import DataError
from attlas.memory import readable_bytes
from attlas.telling import Teller

CARD = "fetched.json"


@dataclass(frozen=True)
class Fetched:
    """A set that lies in a folder, whole and checked.

    Attributes:
        dataset: what it is.
        folder: where it lies.
    """

    dataset: Dataset
    folder: Path

    @property
    def path(self) -> Path:
        """What ``--data`` takes; the folder where attlas does not read the set yet."""
        return self.dataset.table(self.folder) or self.folder

    @property
    def next_command(self) -> str | None:
        """The command that trains on it."""
        return self.dataset.next_command(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """Name, path, files and the next command, for JSON."""
        files = {name: digest for name, digest in _Card(self.folder).digests.items() if (self.folder / name).exists()}
        found = {"name": self.dataset.name, "path": str(self.path), "folder": str(self.folder), "files": files}
        return {**found, "terms": self.dataset.terms, "citation": self.dataset.citation, "next": self.next_command}


def fetch(dataset: Dataset, folder: Path, *, tell: Teller | None = None, patience: Patience | None = None) -> Fetched:
    """Bring a set into a folder of its own. What is there and right is kept; a download goes on where it stopped.

    Raises:
        DataError: a server cannot be reached, a checksum is wrong, a disk is full, or no public source is known; the message
            says what to do by hand.
    """
    tell = tell or Teller()
    _prepare(dataset, folder)
    with _alone(folder):
        card = _Card(folder)
        for source in dataset.files:
            wanted = [*source.members] or [str(dataset.data if dataset.convert else source.name)]
            if not all(card.vouches_for(name) for name in wanted):
                _obtain(dataset, source, folder, card, tell, patience)
                made = _made_of(dataset, source, folder, card, tell)
                # Only now: a file that could not be opened is not one to hold later ones against.
                card.note(source.name, source.address or "by hand")
                for path in made:
                    card.note(path.name, f"out of {source.name}")
    return Fetched(dataset, folder)


def _made_of(dataset: Dataset, source: Source, folder: Path, card: _Card, tell: Teller) -> list[Path]:
    """The files that were taken out of a file, or the table that was made of it."""
    if source.members:
        return unpack(folder / source.name, source.members, folder, tell=tell)
    if dataset.convert is None or dataset.data is None:
        return []
    table = folder / dataset.data
    if table.exists() and not card.vouches_for(table.name):
        raise DataError(f"{table} is there already and would be overwritten; move it away, or delete it")
    tell.say(f"making {table.name} out of {source.name}")
    CONVERTERS[dataset.convert](folder / source.name, table)
    return [table]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else may fetch into this folder meanwhile; a process that is killed lets go of it."""
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(place)
        raise DataError(f"another process is fetching into {folder}; wait for it, or stop it") from error
    try:
        yield
    finally:
        os.close(place)


def _prepare(dataset: Dataset, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ours = {name for source in dataset.files for name in (source.name, *source.members)}
        if {path.name for path in folder.iterdir()} <= ours:  # in a folder with more in it, its owner says what git ignores
            (folder / ".gitignore").write_text("# Fetched data; its terms rarely allow to pass it on.\n*\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}; choose another folder with --to") from error


def _obtain(dataset: Dataset, source: Source, folder: Path, card: _Card, tell: Teller, patience: Patience | None) -> None:
    """See that one file of the set lies whole under its name."""
    target = folder / source.name
    if target.exists():
        _check(source, target, card, f"{target} is not the file that was expected", "delete it and run the same command again")
    else:
        if source.address is None:
            raise DataError(_no_source(dataset, source, folder))
        size = f" ({readable_bytes(source.bytes)})" if source.bytes else ""
        tell.say(f"fetching {source.address}{size}")
        part = download(source, folder, by_hand=_by_hand(dataset, folder), tell=tell, patience=patience)
        odd = target.with_name(f"{target.name}.wrong-checksum")
        try:
            _check(source, part, card, f"{source.address} sent another file than expected", f"what came is kept as {odd}")
        except DataError:
            part.replace(odd)
            raise
        part.replace(target)
        discard_card(target)


def _check(source: Source, path: Path, card: _Card, complaint: str, what_to_do: str) -> None:
    noted = card.digests.get(source.name)
    expected = source.checksum or noted
    if expected is None:
        return
    found = digest_of(path, expected.partition(":")[0])
    if found != expected:
        whose = "the registry" if source.checksum else f"{CARD}, noted at the first fetch"
        accept = "" if source.checksum else f"; to accept it, delete {card.path}"
        raise DataError(f"{complaint}: it has {found}, {whose} says {expected}; {what_to_do}{accept}")


def _by_hand(dataset: Dataset, folder: Path) -> str:
    missing = [source for source in dataset.files if source.address and not (folder / source.name).exists()]
    lines = "\n".join(f"  {source.address} as {folder / source.name}" for source in missing)
    return f"by hand, save\n{lines}\nand run the same command again, which checks it"


def _no_source(dataset: Dataset, source: Source, folder: Path) -> str:
    note = f" ({dataset.note.rstrip('.')})" if dataset.note else ""
    return (
        f"no public source of {dataset.name} is known{note}; put {source.name} into {folder}, with the columns "
        f"{dataset.columns}, and run the same command again"
    )


class _Card:
    """``fetched.json``: each file's SHA-256, where it came from and when."""

    def __init__(self, folder: Path):
        self.path = folder / CARD
        try:
            noted = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
            self.digests: dict[str, str] = {name: str(entry["sha256"]) for name, entry in noted.items()}
        except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
            raise DataError(f"{self.path} cannot be read ({error}); delete it and run the same command again") from error
        self.noted: dict[str, dict[str, str]] = noted

    def vouches_for(self, name: str) -> bool:
        """Whether a file is there and is the one that was noted.

        Raises:
            DataError: it is there and is another.
        """
        path = self.path.with_name(name)
        if name not in self.digests or not path.exists():
            return False
        if digest_of(path) != self.digests[name]:
            raise DataError(f"{path} was altered after it was fetched; delete it and run the same command again")
        return True

    def note(self, name: str, origin: str) -> None:
        """Write down a file's SHA-256, once and for all."""
        if name in self.digests:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.digests[name] = digest_of(self.path.with_name(name))
        self.noted[name] = {"sha256": self.digests[name], "from": origin, "noted": now}
        part = self.path.with_name(f".{CARD}.part")
        part.write_text(json.dumps(self.noted, indent=2) + "\n", encoding="utf-8")
        part.replace(self.path)
