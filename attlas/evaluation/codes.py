"""Codes: what two numbers must share in order to compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from attlas.data.split import Split
from attlas.errors import ConfigError

LETTERS = 8


class Code(NamedTuple):
    """How a number was measured; the metric with its k stands beside it, and ties are averaged everywhere.

    Attributes:
        protocol: who is ranked against what, and whether seen items are hidden.
        split: how the rows were divided.
        part: ``valid`` or ``test``.
        rows: by what the rows and their division are known again, see rows_of; "" where nobody knows.
    """

    protocol: str
    split: str
    part: str
    rows: str = ""

    def __str__(self) -> str:
        return ", ".join(part for part in self if part)


def rows_of(split: Split, *, candidates: bool = False) -> str:
    """The beginning of a hash over all parts of a split, in order; over its given candidates too, where they are ranked."""
    parts = (split.train, split.valid, split.test, split.given)
    digest = hashlib.sha256("".join("none" if part is None else part.fingerprint for part in parts).encode())
    if candidates and split.candidates is not None:
        digest.update(np.ascontiguousarray(split.candidates, np.int64).tobytes())
    return digest.hexdigest()[:LETTERS]


def refuse_mixed(codes: Mapping[str, Code]) -> None:
    """Refuse numbers that do not compare. Rows of which nothing is known pass for the others' rows.

    Args:
        codes: of each number, by what it is called.

    Raises:
        ConfigError: two codes differ; the message says in what.
    """
    for place, (name, code) in enumerate(codes.items()):
        for other_name, other in list(codes.items())[:place]:
            both = zip(Code._fields, other, code, strict=True)
            apart = [f"{part} {its} against {mine}" for part, its, mine in both if its != mine and its and mine]
            if apart:
                raise ConfigError(
                    f"{other_name} and {name} do not compare: {', '.join(apart)}; measure both on one split under one protocol"
                )
