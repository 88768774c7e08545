"""A small network on pairs of a left and a right row, run once for each pair that anybody asks for.

The pairs are the cells of a table, left rows by right rows. Where the askers' lists together are longer than the table, all
of it is computed, a block at a time; else only the cells that occur in a list.

Shapes: C left rows, E right rows, N wanted cells, D columns, A hidden units, B askers; K left and R right rows of a block.

Every public function has a literal twin, ``<name>_reference``, that says the same in loops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import cells as _cpu
from attlas.ops.ragged import Ragged

HIDDEN_FLOATS = 2**19  # of a block: 2 MB, what two cores' caches hold
FOLDED_FLOATS = 2**10  # hidden units of the left rows of a block
PARTS = 16  # into which the right rows of a block are cut where sums over them run in parallel


def asked_cells(rows: Ragged, target_B: Tensor, row_B: Tensor, count: int) -> Ragged:
    """The cells (target, place) that the askers' lists touch, each once; or the whole table, where the lists are longer.

    Args:
        rows: the lists, of places in 0..E-1.
        target_B: what each asker asks about, in 0..count-1.
        row_B: the list that each asker reads.
        count: C, the number of targets.

    Returns:
        C rows; each lists the places whose cells are wanted.
    """
    if int(rows.length[row_B].sum()) >= count * rows.width:
        return Ragged.full(count, rows.width, device=target_B.device)
    start = torch.zeros(count + 1, dtype=torch.int64, device=target_B.device)
    if not can_read(target_B):
        asked = rows.take(row_B)
        key_N = torch.unique(target_B[asked.owner] * rows.width + asked.index)
        start[1:] = torch.bincount(key_N // rows.width, minlength=count).cumsum(0)
        return Ragged(start, key_N % rows.width, rows.width)
    asked_by = asked_about(target_B, count)
    call(_cpu.count_cells, *asked_by, row_B, rows.start, rows.index, torch.tensor([rows.width]), start[1:])
    start = start.cumsum(0)
    index_N = torch.empty(int(start[-1]), dtype=torch.int64)
    call(_cpu.list_cells, *asked_by, row_B, rows.start, rows.index, torch.tensor([rows.width]), start, index_N)
    return Ragged(start, index_N, rows.width)


def asked_cells_reference(rows: Ragged, target_B: Tensor, row_B: Tensor, count: int) -> Ragged:
    """``asked_cells``, asker by asker."""
    wanted: list[set[int]] = [set() for _ in range(count)]
    terms = 0
    for target, g in zip(target_B.tolist(), row_B.tolist(), strict=True):
        listed = rows.index[rows.start[g] : rows.start[g + 1]].tolist()
        wanted[target].update(listed)
        terms += len(listed)
    everything = set(range(rows.width))
    return Ragged.of([sorted(everything if terms >= count * rows.width else places) for places in wanted], rows.width)


def rectified_product(
    left_CD: Tensor, right_ED: Tensor, weight_DA: Tensor, bias_A: Tensor, head_A: Tensor, cells: Ragged
) -> Tensor:
    """head . ReLU((left * right) W + bias) of each wanted cell, [N].

    Row c of W's product with the right rows is right (diag(left_c) W): one matrix product for all right rows. The hidden
    units are computed again on the way back, for they take A times the memory of the result.
    """
    if cells.is_full and len(left_CD) > len(right_ED):
        turned = Ragged.full(len(right_ED), len(left_CD), device=left_CD.device)
        logit_EC = rectified_product(right_ED, left_CD, weight_DA, bias_A, head_A, turned).view(-1, len(left_CD))
        return logit_EC.T.reshape(-1)
    return _RectifiedProduct.apply(left_CD, right_ED, weight_DA, bias_A, head_A, cells)


def rectified_product_reference(
    left_CD: Tensor, right_ED: Tensor, weight_DA: Tensor, bias_A: Tensor, head_A: Tensor, cells: Ragged
) -> Tensor:
    """``rectified_product``, cell by cell."""
    pairs = zip(cells.owner.tolist(), cells.index.tolist(), strict=True)
    logits = [head_A @ ((left_CD[c] * right_ED[e]) @ weight_DA + bias_A).relu() for c, e in pairs]
    return torch.stack(logits) if logits else left_CD.new_zeros(0)


def rectified_sum(left_CA: Tensor, right_EA: Tensor, head_A: Tensor, cells: Ragged) -> Tensor:
    """head . ReLU(left + right) of each wanted cell, [N]: a network on two rows side by side, from its first layer's halves."""
    return _RectifiedSum.apply(left_CA, right_EA, head_A, cells)


def rectified_sum_reference(left_CA: Tensor, right_EA: Tensor, head_A: Tensor, cells: Ragged) -> Tensor:
    """``rectified_sum``, cell by cell."""
    pairs = zip(cells.owner.tolist(), cells.index.tolist(), strict=True)
    logits = [head_A @ (left_CA[c] + right_EA[e]).relu() for c, e in pairs]
    return torch.stack(logits) if logits else left_CA.new_zeros(0)


@dataclass(frozen=True, eq=False)
class _Block:
    """Some left rows by some right rows, all of whose cells are wanted.

    Attributes:
        left: K left rows.
        right: R right rows, as they lie or by their places.
        cells: from a tensor with one number per wanted cell to the block's, a view [K, R].
    """

    left: slice
    right: slice | Tensor
    first: int
    shape: tuple[int, int] | None

    def rows(self, right_EX: Tensor) -> Tensor:
        """The right rows of the block, [R, X]."""
        return right_EX[self.right] if isinstance(self.right, slice) else right_EX.index_select(0, self.right)

    def add(self, grad_EX: Tensor, part_RX: Tensor) -> None:
        """Add to the right rows of the block."""
        if isinstance(self.right, slice):
            grad_EX[self.right] += part_RX
        else:
            grad_EX.index_add_(0, self.right, part_RX)

    def cells(self, of_N: Tensor) -> Tensor:
        """The block's part of what has one number per wanted cell, a view [K, R]."""
        if self.shape and isinstance(self.right, slice):
            return of_N.view(self.shape)[self.left, self.right]
        return of_N[self.first : self.first + len(self.right)][None]  # type: ignore[arg-type]


def _blocks(cells: Ragged, hidden: int) -> Iterator[_Block]:
    """Blocks whose hidden units fit the caches: of a whole table, or of one left row with those that it wants."""
    count, width = cells.count, cells.width
    if cells.is_full:
        K = max(1, min(count, FOLDED_FLOATS // hidden))
        R = max(1, HIDDEN_FLOATS // (K * hidden))
        for c in range(0, count, K):
            for e in range(0, width, R):
                yield _Block(slice(c, min(c + K, count)), slice(e, min(e + R, width)), 0, (count, width))
        return
    R = max(1, HIDDEN_FLOATS // hidden)
    start = cells.start.tolist()
    for c in range(count):
        for n in range(start[c], start[c + 1], R):
            yield _Block(slice(c, c + 1), cells.index[n : min(n + R, start[c + 1])], n, None)


class _RectifiedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        left_CD, right_ED, weight_DA, bias_A, head_A, cells = given
        ctx.save_for_backward(left_CD, right_ED, weight_DA, bias_A, head_A)
        ctx.cells = cells
        logit_N = left_CD.new_empty(len(cells.index))
        for block in _blocks(cells, len(head_A)):
            hidden_RKA = _hidden(block.rows(right_ED), _folded(left_CD[block.left], weight_DA), len(head_A))
            block.cells(logit_N).copy_(_product_logits(hidden_RKA, bias_A, head_A))
        return logit_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left_CD, right_ED, weight_DA, bias_A, head_A = ctx.saved_tensors
        grad_left_CD, grad_right_ED = torch.zeros_like(left_CD), torch.zeros_like(right_ED)
        # What W and the bias would get if the head were all ones; the head's own gradient follows from them, since ReLU(x) is
        # x where it passes anything on.
        plain_DA, plain_A = torch.zeros_like(weight_DA), torch.zeros_like(bias_A)
        for block in _blocks(ctx.cells, len(head_A)):
            left_KD, right_RD = left_CD[block.left], block.rows(right_ED)
            hidden_RKA = _hidden(right_RD, _folded(left_KD, weight_DA), len(head_A))
            plain_A += _pass_product(hidden_RKA, bias_A, block.cells(grads[0]))
            passed_RX = hidden_RKA.flatten(1)
            plain_DKA = (right_RD.T @ passed_RX).view(-1, len(left_KD), len(head_A))
            plain_DA += torch.einsum("dka,kd->da", plain_DKA, left_KD)
            grad_left_CD[block.left] += torch.einsum("dka,da->kd", plain_DKA, weight_DA * head_A)
            block.add(grad_right_ED, passed_RX @ _folded(left_KD, weight_DA * head_A).T)
        grad_head_A = (weight_DA * plain_DA).sum(0) + bias_A * plain_A
        return grad_left_CD, grad_right_ED, plain_DA * head_A, plain_A * head_A, grad_head_A, None


def _folded(left_KD: Tensor, weight_DA: Tensor) -> Tensor:
    """Each left row multiplied into the weights, side by side, [D, K A]."""
    return (left_KD.T.contiguous()[:, :, None] * weight_DA[:, None, :]).flatten(1)


def _hidden(right_RD: Tensor, folded_DX: Tensor, hidden: int) -> Tensor:
    """(left * right) W, [R, K, A]."""
    return (right_RD @ folded_DX).view(len(right_RD), -1, hidden)


def _product_logits(hidden_RKA: Tensor, bias_A: Tensor, head_A: Tensor) -> Tensor:
    """head . ReLU(hidden + bias), [K, R]."""
    if not can_read(hidden_RKA):
        return ((hidden_RKA + bias_A).relu_() @ head_A).T
    logit_KR = hidden_RKA.new_empty(hidden_RKA.shape[1], hidden_RKA.shape[0])
    call(_cpu.product_logits, hidden_RKA, bias_A, head_A, logit_KR)
    return logit_KR


def _pass_product(hidden_RKA: Tensor, bias_A: Tensor, grad_KR: Tensor) -> Tensor:
    """Put the gradient of each cell where its hidden unit is above zero, into the units' own place; its sum over cells, [A]."""
    if not can_read(hidden_RKA):
        return hidden_RKA.add_(bias_A).gt_(0).mul_(grad_KR.T[:, :, None]).sum((0, 1))
    part_SA = bias_A.new_empty(PARTS, len(bias_A))
    call(_cpu.product_passed, hidden_RKA, bias_A, grad_KR, part_SA)
    return part_SA.sum(0)


class _RectifiedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        left_CA, right_EA, head_A, cells = given
        ctx.save_for_backward(left_CA, right_EA, head_A)
        ctx.cells = cells
        logit_N = left_CA.new_empty(len(cells.index))
        for block in _blocks(cells, len(head_A)):
            block.cells(logit_N).copy_(_sum_logits(left_CA[block.left], block.rows(right_EA), head_A))
        return logit_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left_CA, right_EA, head_A = ctx.saved_tensors
        plain_CA, plain_EA = torch.zeros_like(left_CA), torch.zeros_like(right_EA)  # as if the head were all ones
        for block in _blocks(ctx.cells, len(head_A)):
            from_KA, from_RA = _pass_sum(left_CA[block.left], block.rows(right_EA), block.cells(grads[0]))
            plain_CA[block.left] += from_KA
            block.add(plain_EA, from_RA)
        grad_head_A = (left_CA * plain_CA).sum(0) + (right_EA * plain_EA).sum(0)
        return plain_CA * head_A, plain_EA * head_A, grad_head_A, None


def _sum_logits(left_KA: Tensor, right_RA: Tensor, head_A: Tensor) -> Tensor:
    """head . ReLU(left + right), [K, R]."""
    if not can_read(left_KA):
        return ((right_RA + left_KA[:, None]).relu_()) @ head_A
    logit_KR = left_KA.new_empty(len(left_KA), len(right_RA))
    call(_cpu.sum_logits, left_KA, right_RA, head_A, logit_KR)
    return logit_KR


def _pass_sum(left_KA: Tensor, right_RA: Tensor, grad_KR: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of each cell where its hidden unit is above zero, summed over right rows, [K, A], and left rows, [R, A]."""
    if not can_read(left_KA):
        passed_KRA = (right_RA + left_KA[:, None]).gt_(0).mul_(grad_KR[:, :, None])
        return passed_KRA.sum(1), passed_KRA.sum(0)
    part_SKA, passed_RA = left_KA.new_empty(PARTS, *left_KA.shape), right_RA.new_empty(right_RA.shape)
    call(_cpu.sum_passed, left_KA, right_RA, grad_KR, part_SKA, passed_RA)
    return part_SKA.sum(0), passed_RA


def asked_about(target_B: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The askers grouped by what they ask about: where each group begins, [C + 1], and who is in it, [B]."""
    return Ragged(torch.arange(len(target_B) + 1, device=target_B.device), target_B, count).transposed[:2]


def asked_about_reference(target_B: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``asked_about``, target by target."""
    groups = [[b for b, target in enumerate(target_B.tolist()) if target == c] for c in range(count)]
    length = torch.tensor([0, *(len(group) for group in groups)])
    return length.cumsum(0), torch.tensor([b for group in groups for b in group], dtype=torch.int64)
