"""Self-attention among the rows of a sparse matrix: a row is told by the rows that are like it.

    X = V W          V the matrix, its rows projected
    E = softmax(X W_1 (X W_2)' / sqrt(S)) X W_3

Shapes: G rows of the matrix, A of them asked, T cells, S projection, B rows that ask.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from attlas.models.layers import embedding
from attlas.ops.attention import attend
from attlas.ops.gram import sparse_product
from attlas.ops.ragged import Ragged


class Matrix(NamedTuple):
    """A sparse matrix: which cells are filled and what stands in them, zero where a cell may not be read; either way.

    Attributes:
        rows, columns: the pattern and the values, [T] each.
    """

    rows: tuple[Ragged, Tensor]
    columns: tuple[Ragged, Tensor]

    @property
    def transposed(self) -> Matrix:
        """The same with rows for columns."""
        return Matrix(self.columns, self.rows)


class MatrixAttention(nn.Module):
    """What each row finds among the rows with the most cells.

    Args:
        width: columns of the matrix.
        dim: S, the size of a projected row.
        neighbours: A, how many rows are asked: those with the most cells, of equal ones the first; None asks all.
        adds_own: whether what a row finds is added to its own value, or stands for it.
        row_sum: ``sqrt`` divides a projected row by the square root of the number of its cells.
        stddev: spread of the projection at the start.
    """

    def __init__(
        self, width: int, dim: int, *, neighbours: int | None, adds_own: bool, row_sum: Literal["sum", "sqrt"], stddev: float
    ):
        super().__init__()
        self.neighbours, self.adds_own, self.row_sum = neighbours, adds_own, row_sum
        self.projection = embedding(width, dim, stddev=stddev)
        self.query, self.key, self.value = (nn.Parameter(torch.eye(dim)) for _ in range(3))

    def forward(self, matrix: Matrix, count_G: Tensor, index_B: Tensor) -> Tensor:
        """E of the rows that ask, [B, S].

        Args:
            matrix: by its rows and by its columns.
            count_G: how many cells of each row may be read.
            index_B: which rows ask.
        """
        row_GS = self.project(matrix, count_G)
        own_BS, asked_AS = row_GS.index_select(0, index_B), row_GS.index_select(0, self.asked(count_G))
        found_BS = attend(own_BS @ self.query, asked_AS @ self.key, asked_AS @ self.value, scale=self.scale)
        return found_BS + own_BS @ self.value if self.adds_own else found_BS

    @property
    def scale(self) -> float:
        """1 / sqrt(S)."""
        return float(len(self.query)) ** -0.5

    def project(self, matrix: Matrix, count_G: Tensor) -> Tensor:
        """X, [G, S]."""
        row_GS = sparse_product(*matrix.rows, self.projection.weight, columns=matrix.columns)
        return self.row_scale(count_G)[:, None] * row_GS

    def row_scale(self, count_G: Tensor) -> Tensor:
        """By what the sum over each row is multiplied, [G]."""
        count_G = count_G.clamp(min=1).to(self.query.dtype)
        return count_G.rsqrt() if self.row_sum == "sqrt" else torch.ones_like(count_G)

    def asked(self, count_G: Tensor) -> Tensor:
        """The rows with the most cells, int64[A]."""
        if self.neighbours is None or self.neighbours >= len(count_G):
            return torch.arange(len(count_G), device=count_G.device)
        return torch.argsort(count_G, descending=True, stable=True)[: self.neighbours]

    def weights(self, matrix: Matrix, count_G: Tensor, index_B: Tensor) -> Tensor:
        """By how much the value X W_3 of each row counts for each that asks, [B, G]; 1 more for its own if that is added."""
        row_GS, asked_A = self.project(matrix, count_G), self.asked(count_G)
        own_BS = row_GS.index_select(0, index_B)
        logit_BA = self.scale * (own_BS @ self.query) @ (row_GS.index_select(0, asked_A) @ self.key).T
        weight_BG = own_BS.new_zeros(len(index_B), len(count_G)).index_copy(1, asked_A, torch.softmax(logit_BA, dim=-1))
        own_B1 = torch.full_like(weight_BG[:, :1], float(self.adds_own))
        return weight_BG.scatter_add(1, index_B[:, None], own_B1)
