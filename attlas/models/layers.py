"""The few modules and sums that several papers share.

Shapes: B pairs, D embedding, H hidden, R lists, I items.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from attlas.data.inputs import History
from attlas.ops.abreast import relu_layers
from attlas.ops.descent import Tables
from attlas.ops.ragged import Ragged
from attlas.ops.segments import segment_sum, segment_sum_without

DESCENT_BYTES = 5 * 4  # of a parameter that descends: the number, its gradient, two moments and the best so far
TABLE_NAMES = ("user_embedding", "item_embedding", "user_bias", "item_bias")
PAIRS_AT_ONCE = 2**16  # of rows that a layer judges where nothing is learned
DENSE_SHARE = 1 / 32  # above this share of filled cells a dense product is faster than summing rows


def embedding(count: int, dim: int, *, stddev: float = 0.01) -> nn.Embedding:
    """A table of vectors drawn from a normal distribution around zero."""
    table = nn.Embedding(count, dim)
    nn.init.normal_(table.weight, std=stddev)
    return table


def grown(table: nn.Embedding, count: int) -> nn.Embedding:
    """The same table with rows of zeros for whoever has come since; never with fewer than it has."""
    more = table.weight.new_zeros(max(count - table.num_embeddings, 0), table.embedding_dim)
    return nn.Embedding.from_pretrained(torch.cat([table.weight.detach(), more]), freeze=False)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer with Glorot weights and, unless told otherwise, a bias of zero."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def tables_of(model: nn.Module) -> Tables:
    """The weights of a factor model with biases, as arrays."""
    parts = (getattr(model, name).weight for name in TABLE_NAMES)
    user_UD, item_ID, user_bias_U1, item_bias_I1 = (part.detach().cpu().numpy() for part in parts)
    return Tables(user_UD, item_ID, user_bias_U1.ravel(), item_bias_I1.ravel())


@torch.no_grad()
def give_tables(model: nn.Module, tables: Tables) -> None:
    """Arrays as the new weights of a factor model with biases."""
    for name, table in zip(TABLE_NAMES, tables, strict=True):
        weight = getattr(model, name).weight
        weight.copy_(torch.from_numpy(table).view_as(weight))


class PairTower(nn.Module):
    """A multi-layer perceptron on (user half ++ item half); whoever adds the halves also applies the first layer's ReLU.

    Its first layer is kept as two halves, W(a ++ b) = W_a a + W_b b, so that each half is computed once per user or item.

    Args:
        half_dim: the size of each half.
        layers: the sizes of the layers.
    """

    def __init__(self, half_dim: int, layers: Sequence[int]):
        super().__init__()
        first = linear(2 * half_dim, layers[0])
        self.user_weight = nn.Parameter(first.weight[:, :half_dim].detach().clone())
        self.item_weight = nn.Parameter(first.weight[:, half_dim:].detach().clone())
        self.bias = nn.Parameter(torch.zeros(layers[0]))
        self.rest = nn.ModuleList(linear(below, above) for below, above in itertools.pairwise(layers))

    def user_half(self, vector_BD: Tensor) -> Tensor:
        """The user's share of the first layer, bias included, [B, H]."""
        return torch.nn.functional.linear(vector_BD, self.user_weight, self.bias)

    def item_half(self, vector_BD: Tensor) -> Tensor:
        """The item's share of the first layer, [B, H]."""
        return torch.nn.functional.linear(vector_BD, self.item_weight)

    def forward(self, hidden_BH: Tensor) -> Tensor:
        """From the first layer, the ReLU of the sum of the two halves, to the last one, [B, layers[-1]]."""
        for layer in self.rest:
            hidden_BH = layer(hidden_BH).relu_()
        return hidden_BH


class HistorySum(nn.Module):
    """A row of the training matrix times a table: the sum of one vector per entry of a history, without the pair's own target.

    Args:
        count: how many rows the table has.
        dim: the size of each.
        stddev: spread of the table at the start.
        bias: whether a bias is added to the sum.
        pooling: ``sqrt`` divides the sum by the square root of the number of its entries.
    """

    def __init__(
        self, count: int, dim: int, *, stddev: float = 0.01, bias: bool = False, pooling: Literal["sum", "sqrt"] = "sum"
    ):
        super().__init__()
        self.entry = embedding(count, dim, stddev=stddev)
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None
        self.pooling = pooling

    def forward(self, history: History) -> Tensor:
        """One sum per pair, [B, D]; zeros, or the bias, for an empty history."""
        sum_BD = segment_sum_without(self.entry(history.distinct), history.lists, history.row, history.left_out)
        if self.pooling == "sqrt":
            sum_BD = sum_BD / history.length.clamp(min=1).to(sum_BD.dtype).sqrt()[:, None]
        return sum_BD if self.bias is None else sum_BD + self.bias


class Tower(nn.Module):
    """A multi-layer perceptron with a ReLU after every layer, the last one too.

    Args:
        inputs: how many numbers it reads.
        layers: the sizes of the layers.
        layer_norm: whether each layer is normalised before its ReLU.
        dropout: the share of each layer that training drops after its ReLU.
    """

    def __init__(self, inputs: int, layers: Sequence[int], *, layer_norm: bool = False, dropout: float = 0.0):
        super().__init__()
        self.first = linear(inputs, layers[0])
        self.rest = nn.ModuleList(linear(below, above) for below, above in itertools.pairwise(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(size) if layer_norm else nn.Identity() for size in layers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vector_BD: Tensor) -> Tensor:
        """The last layer, [B, layers[-1]]."""
        return self.above_first(self.first(vector_BD))

    def above_first(self, first_BH: Tensor) -> Tensor:
        """The last layer from the first one before its ReLU, for whoever adds that up from parts."""
        hidden_BH = self.dropout(self.norms[0](first_BH).relu())
        for layer, norm in zip(self.rest, self.norms[1:], strict=True):
            hidden_BH = self.dropout(norm(layer(hidden_BH)).relu())
        return hidden_BH


def run_abreast(towers: Sequence[PairTower], hidden_NH: Tensor) -> Tensor:
    """Several towers of one shape in one batched product per layer: what ``tower(its share)`` gives, side by side.

    Args:
        towers: W of them.
        hidden_NH: their first layers, side by side, [N, W H].

    Returns:
        Their last layers, side by side, [N, W K].
    """
    hidden_NWH = hidden_NH.unflatten(-1, (len(towers), -1))
    for depth in range(len(towers[0].rest)):
        layers = [cast(nn.Linear, tower.rest[depth]) for tower in towers]
        weight_WHK = torch.stack([layer.weight for layer in layers]).transpose(1, 2)
        hidden_NWH = relu_layers(hidden_NWH, weight_WHK, torch.stack([layer.bias for layer in layers]))
    return hidden_NWH.flatten(1)


def judge_in_parts(
    judge: Callable[[Tensor, Tensor], Tensor], left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]
) -> Tensor:
    """What a layer says of N pairs of rows, [N, K]; where nothing is learned, of some of them at a time.

    Args:
        judge: the layer, from two times [n, C] to [n, K].
        left, right: a table and the row of it that each pair reads, int64[N].
    """
    (left_GC, left_N), (right_EC, right_N) = left, right
    step = max(1, len(left_N)) if torch.is_grad_enabled() else PAIRS_AT_ONCE
    parts = [
        judge(nn.functional.embedding(left_n, left_GC), nn.functional.embedding(right_n, right_EC))
        for left_n, right_n in zip(left_N.split(step), right_N.split(step), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def asked_only(history: History) -> History:
    """The same without the lists that nobody asks for, whose keys would be made for nothing; entries count once each."""
    row_G, row_B = torch.unique(history.row, return_inverse=True)
    if len(row_G) == history.count:
        return history
    lists = history.lists.take(row_G)
    moved_B = history.left_out - history.lists.start[history.row] + lists.start[row_B]
    return replace(history, lists=lists, row=row_B, left_out=torch.where(history.left_out < 0, -1, moved_B), value=None)


def sum_chosen(weight_II: Tensor, user_history: History, row_R: Tensor) -> Tensor:
    """X_u W for each of the named lists, [R, I]: the sum of the rows of an item-item table that a list names."""
    lists = user_history.lists.take(row_R)
    if lists.count == 1:  # no row is read twice: read it where it lies
        return segment_sum(weight_II, Ragged(lists.start, user_history.distinct[lists.index], len(weight_II)))
    weight_EI = weight_II if len(user_history.distinct) == len(weight_II) else weight_II[user_history.distinct]
    if len(lists.index) < DENSE_SHARE * lists.count * lists.width:
        return segment_sum(weight_EI, lists)
    chosen_RE = torch.zeros(lists.count, lists.width, device=weight_EI.device)
    chosen_RE[lists.owner, lists.index] = 1.0
    return chosen_RE @ weight_EI
