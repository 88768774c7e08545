"""Lists of unequal length, kept as they are: nothing is padded.

Shapes: G rows, T entries of all rows together, E places in the table that entries point to, B askers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import segments as _cpu


@dataclass(frozen=True, eq=False)
class Ragged:
    """G rows, each a list of places in a table: the pattern of a compressed sparse row matrix.

    Attributes:
        start: int64[G + 1]; row g has the entries start[g] to start[g + 1] - 1.
        index: int64[T], the place in the table that each entry points to; sorted inside each row, no place twice.
        width: E, the number of places in the table.
    """

    start: Tensor
    index: Tensor
    width: int

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], width: int) -> Ragged:
        """The pattern that a list of lists spells out."""
        length = torch.tensor([0, *(len(row) for row in rows)])
        return cls(length.cumsum(0), torch.tensor([e for row in rows for e in row], dtype=torch.int64), width)

    @classmethod
    def full(cls, count: int, width: int, *, device: torch.device | str = "cpu") -> Ragged:
        """The pattern whose every row lists every place."""
        start = torch.arange(count + 1, device=device) * width
        return cls(start, torch.arange(width, device=device).repeat(count), width)

    def to(self, device: torch.device) -> Ragged:
        """The same on a device."""
        return Ragged(self.start.to(device), self.index.to(device), self.width)

    @property
    def is_full(self) -> bool:
        """Whether every row lists every place."""
        return len(self.index) == self.count * self.width

    @property
    def count(self) -> int:
        """G, the number of rows."""
        return len(self.start) - 1

    @cached_property
    def length(self) -> Tensor:
        """The number of entries of each row, int64[G]."""
        return self.start.diff()

    @cached_property
    @torch.inference_mode(False)  # it is kept, and may be asked for again where gradients flow
    def owner(self) -> Tensor:
        """The row that each entry belongs to, int64[T]."""
        return torch.repeat_interleave(torch.arange(self.count, device=self.start.device), self.length)

    @cached_property
    @torch.inference_mode(False)
    def transposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """The entries grouped by place: start [E + 1], row [T], and which entry [T] each of them is."""
        if can_read(self.start):
            arrays = _cpu.transpose(self.start.numpy(), self.index.numpy(), self.width)
            first, row, entry = (torch.from_numpy(array) for array in arrays)
            return first, row, entry
        entry = torch.argsort(self.index, stable=True)
        first = torch.zeros(self.width + 1, dtype=torch.int64, device=self.index.device)
        first[1:] = torch.bincount(self.index, minlength=self.width).cumsum(0)
        return first, self.owner[entry], entry

    def find(self, row_B: Tensor, wanted_B: Tensor) -> Tensor:
        """The entry in which each asked row lists the wanted place, int64[B]; -1 where it does not."""
        if can_read(self.start):
            place_B = torch.empty_like(row_B)
            call(_cpu.find_in_rows, self.start, self.index, row_B, wanted_B, place_B)
            return place_B
        key_T = self.owner * self.width + self.index
        wanted_key_B = row_B.long() * self.width + wanted_B
        place_B = torch.searchsorted(key_T, wanted_key_B).clamp_(max=max(len(key_T) - 1, 0))
        found_B = key_T[place_B] == wanted_key_B if len(key_T) else torch.zeros_like(row_B, dtype=torch.bool)
        return torch.where(found_B, place_B, -1)

    def take(self, row_R: Tensor, *, without_R: Tensor | None = None) -> Ragged:
        """The given rows as a pattern of their own; optionally each without one of its entries, int64[R]."""
        length_R = self.length[row_R]
        first_R = length_R.cumsum(0) - length_R
        entry_T = torch.arange(int(length_R.sum()), device=self.start.device)
        entry_T += torch.repeat_interleave(self.start[row_R] - first_R, length_R)
        if without_R is not None:
            entry_T = entry_T[entry_T != torch.repeat_interleave(without_R, length_R)]
            length_R = length_R - 1
        start = torch.zeros(len(row_R) + 1, dtype=torch.int64, device=self.start.device)
        start[1:] = length_R.cumsum(0)
        return Ragged(start, self.index[entry_T], self.width)
