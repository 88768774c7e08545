"""What a search may try: for one setting a span of numbers, or a few choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low, high: the ends; whole numbers make every number whole.
        log: whether equal ratios are equally likely, instead of equal differences.
    """

    low: float
    high: float
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers lie in it."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choice:
    """One of a few values that JSON can hold.

    Attributes:
        values: what there is to choose from; lists become tuples where the setting wants them.
    """

    values: tuple[Any, ...]


Space = Mapping[str, Span | Choice]  # by the setting's table and name: "model.l2", "solver.learning_rate"
