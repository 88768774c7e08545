"""Reports on disk, every user's values included: one safetensors file for those of one fit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from attlas.errors import ArtefactError
from attlas.evaluation.report import AnyReport, Overall, Report, RowReport
from attlas.training.checkpoint import write_whole

ARRAYS = ("per_user", "total", "weight")  # what a report knows of each user, by metric


def write_reports(path: Path, reports: Mapping[str, AnyReport], facts: Mapping[str, Any]) -> None:
    """Write reports by the code of their protocol, and facts that JSON can hold."""
    arrays, plain = {}, {}
    for code, report in reports.items():
        known = {field.name: getattr(report, field.name) for field in dataclasses.fields(report) if field.init}
        arrays[f"{code}/users"] = np.ascontiguousarray(known.pop("users"))
        for kind in ARRAYS:
            of_each = known.pop(kind, {})
            arrays |= {f"{code}/{kind}/{name}": np.ascontiguousarray(values) for name, values in of_each.items()}
        plain[code] = known
    noted = json.dumps({"reports": plain, "facts": dict(facts)})
    write_whole(path, save(arrays, metadata={"noted": noted}))


def read_reports(path: Path) -> tuple[dict[str, AnyReport], dict[str, Any]]:
    """Reports and facts as they were written.

    Raises:
        ArtefactError: the file is not whole, or not ours.
    """
    try:
        with safe_open(path, framework="np") as file:
            noted = json.loads(file.metadata()["noted"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {code: _report(code, plain, arrays) for code, plain in noted["reports"].items()}, noted["facts"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} does not hold whole reports ({error}); delete it, and it will be made anew") from error


def _report(code: str, plain: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> AnyReport:
    def of_each(kind: str) -> dict[str, np.ndarray]:
        start = f"{code}/{kind}/"
        return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}

    users = arrays[f"{code}/users"]
    if "task" in plain:
        return RowReport(users=users, total=of_each("total"), weight=of_each("weight"), **plain)
    overall = {name: Overall(*values) for name, values in plain["overall"].items()}
    plain |= {"overall": overall, "k": tuple(plain["k"]), "num_candidates": tuple(plain["num_candidates"])}
    return Report(users=users, per_user=of_each("per_user"), **plain)
