"""What tests of models on feature fields share: the worked example's tables and row, and random rows of fields."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attlas.data.inputs import Fields, Sizes
from attlas.ops.ragged import Ragged

V = [[0.5, -1, 0.2], [1, 0.4, -0.6], [-0.3, 0.8, 1.2], [0.7, 0.1, -0.5], [0.9, -0.2, 0.3], [-0.4, 0.6, 0.1]]
WEIGHTS = [0.10, -0.20, 0.05, 0.30, -0.15, 0.25]
NAMED = [0, 2, 3, 5]
SIZES = Sizes(1, 1, (1, 2, 2, 1))  # six features in four fields


def row() -> Fields:
    """The worked example's row: four features, the third of which weighs a half."""
    return Fields(torch.tensor([NAMED]), torch.tensor([[1, 1, 0.5, 1]], dtype=torch.float64))


def give_example(model: nn.Module) -> nn.Module:
    """The example's bias, weights and vectors in double precision; ready for use."""
    factors = model.double().eval().factors
    with torch.no_grad():
        factors.bias.fill_(0.05)
        factors.weight.copy_(torch.tensor(WEIGHTS)[:, None])
        factors.vector.copy_(torch.tensor(V, dtype=torch.float64))
        factors.weight.copy_(torch.tensor(WEIGHTS, dtype=torch.float64)[:, None])
        factors.bias.copy_(torch.tensor(0.05, dtype=torch.float64))
    return model


def random_rows(sizes: tuple[int, ...], count: int, *, seed: int = 0, weighed: bool = False) -> Fields:
    """Rows of random features, many of them shared; their values too, where asked for."""
    generator = torch.Generator().manual_seed(seed)
    first, columns = 0, []
    for size in sizes:
        columns.append(torch.randint(first, first + size, (count,), generator=generator))
        first += size
    value = torch.rand((count, len(sizes)), generator=generator, dtype=torch.float64) if weighed else None
    return Fields(torch.stack(columns, dim=1), value)


def with_bags(fields: Fields, lists: list[list[int]], num_features: int) -> Fields:
    """The same rows, whose last field holds the bags one after another."""
    index = fields.index.clone()
    index[:, -1] = num_features + torch.arange(len(index)) % len(lists)
    return Fields(index, fields.value, Ragged.of(lists, num_features))


def literal_products(model: nn.Module, fields: Fields) -> tuple[Tensor, Tensor]:
    """Each row's sum of weights, [B], and the product of each pair, [B, P, D], one by one as the papers write them."""
    factors, sums, rows = model.factors, [], []
    value_BF = torch.ones(fields.index.shape).double() if fields.value is None else fields.value
    for index_F, value_F in zip(fields.index.tolist(), value_BF, strict=True):
        named = [_of_entry(factors, entry, fields) for entry in index_F]
        sums.append(sum(x * weight for x, (_, weight) in zip(value_F, named, strict=True)))
        scaled = [x * vector for x, (vector, _) in zip(value_F, named, strict=True)]
        rows.append(torch.stack([scaled[i] * scaled[j] for i in range(len(scaled)) for j in range(i + 1, len(scaled))]))
    return torch.stack(sums), torch.stack(rows)


def _of_entry(factors: nn.Module, entry: int, fields: Fields) -> tuple[Tensor, Tensor]:
    count = len(factors.vector)
    if entry < count or fields.bags is None:
        return factors.vector[entry], factors.weight[entry, 0]
    held = fields.bags.index[fields.bags.start[entry - count] : fields.bags.start[entry - count + 1]]
    return factors.vector[held].mean(0), factors.weight[held, 0].mean()


def gradients(model: nn.Module, score_B: Tensor) -> list[Tensor]:
    """Of a fixed mixture of scores, by every parameter that has one."""
    mixture = (score_B * torch.linspace(-1, 2, len(score_B)).to(score_B)).sum()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.numel()]
    found = torch.autograd.grad(mixture, learned, allow_unused=True)
    return [torch.zeros_like(one) if grad is None else grad for one, grad in zip(learned, found, strict=True)]
