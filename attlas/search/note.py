"""What is searched in a folder, noted there: by it a search is known again, and resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from attlas.data.split import Split
from attlas.errors import ArtefactError
from attlas.experiment import Experiment
from attlas.spaces import Space
from attlas.training.checkpoint import write_whole
from attlas.trial import fingerprints

NOTE = "search.json"
SAID = {
    "experiment": "experiment differs",
    "fixed": "fixed settings differ",
    "space": "search space differs",
    "data": "training, validation or given rows differ",
    "storage": "study has another address",
}


class Budget(NamedTuple):
    """What a search may take; it may be another each time."""

    trials: int
    seconds: float | None
    workers: int


def described(
    experiment: Experiment, split: Split, space: Space, fixed: Collection[str], storage: str | None
) -> dict[str, Any]:
    """What must be the same whenever the search goes on, as JSON holds it."""
    what = {
        "experiment": _spelled(experiment),
        "fixed": sorted(fixed),
        "space": {key: dataclasses.asdict(choices) for key, choices in space.items()},
        "data": {**fingerprints(split), "valid_fingerprint": split.valid.fingerprint if split.valid else None},
        "storage": storage,
    }
    told: dict[str, Any] = json.loads(json.dumps(what))
    return told


def _spelled(experiment: Experiment) -> dict[str, Any]:
    plain = experiment.to_dict()
    del plain["training"]["chosen"]  # it says where the epochs come from, and changes nothing that is searched
    told: dict[str, Any] = json.loads(json.dumps(plain))
    return told


def _study_name(what: dict[str, Any]) -> str:
    """What the study is called: equal searches of several folders share it, if they share the storage."""
    code = hashlib.sha256(json.dumps({**what, "storage": None}, sort_keys=True).encode()).hexdigest()
    return f"attlas {what['experiment']['model']['name']} {code[:12]}"


def noted(folder: Path, what: dict[str, Any], budget: Budget) -> tuple[str, str]:
    """Note in the folder what is searched there; returns the word by which its trials are known, and the name of the study.

    A note stays as it was begun: settings that came since are taken to be at their defaults.

    Raises:
        ArtefactError: something else is searched there.
    """
    note = read_note(folder) if (folder / NOTE).exists() else {"home": uuid.uuid4().hex, **what}
    known = {**note, "experiment": _spelled(Experiment.of(note["experiment"]))}
    for name, value in what.items():
        if known.get(name) != value:
            raise ArtefactError(f"{folder} holds another search: its {SAID[name]}; choose another folder")
    write_whole(folder / NOTE, (json.dumps({**note, "budget": budget._asdict()}, indent=2) + "\n").encode())
    return note["home"], _study_name({name: note[name] for name in what})


def read_note(folder: Path) -> dict[str, Any]:
    """What is searched in a folder.

    Raises:
        ArtefactError: nothing is, or the note is not whole.
    """
    try:
        noted: dict[str, Any] = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return noted
    except OSError as error:
        raise ArtefactError(
            f"{folder} holds no search to resume; begin one with: attlas tune --data FILE --model NAME --out {folder}"
        ) from error
    except ValueError as error:
        raise ArtefactError(f"{folder / NOTE} is not whole; delete the folder and search anew") from error
