import math

import numpy as np
import pytest
import torch
from torch import nn

from attlas.data.inputs import Inputs
from attlas.data.interactions import Interactions
from attlas.errors import ConfigError
from attlas.models.mf import MF
from attlas.ops.segments import attentive_sum
from attlas.training.fit import Descent
from attlas.training.whole import Ratings, WholeData
from tests.toy import chosen_by

LISTS = [[0, 1, 2], [1, 3], [], [0, 1, 2, 3, 4]]
DATA = Inputs(chosen_by(LISTS, 5))


class Taste(nn.Module):
    """A user is the mean of what they chose, the target left out: an inner product whose user depends on the item."""

    is_inner_product = True

    def __init__(self, num_items: int):
        super().__init__()
        self.item = nn.Embedding(num_items, 3)
        self.chosen = nn.Embedding(num_items, 3)

    def forward(self, item, user_history):
        return self.match(self.encode_user(user_history), self.encode_item(item))

    def encode_user(self, user_history):
        value_ED = self.chosen(user_history.distinct)
        equal_E = torch.zeros(len(value_ED))
        return attentive_sum(value_ED, equal_E, user_history.lists, user_history.row, user_history.left_out)

    def encode_item(self, item):
        return self.item(item)

    def match(self, user_code, item_code):
        return (user_code * item_code).sum(-1)


def models() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return {"mf": MF(DATA.sizes, MF.Config(embedding_dim=3, stddev=2.0)), "taste": Taste(5)}


def cell_by_cell(model: nn.Module, weight: float) -> torch.Tensor:
    """Every cell of the matrix scored as a pair, per training pair."""
    user, item = (torch.from_numpy(index.ravel()) for index in np.meshgrid(np.arange(4), np.arange(5), indexing="ij"))
    names = ("user", "item") if isinstance(model, MF) else ("item", "user_history")
    score = model(**DATA.gather(names, user, item))
    chosen = torch.tensor([i in LISTS[u] for u, i in zip(user.tolist(), item.tolist(), strict=True)])
    cost = torch.where(chosen, (1 - score) ** 2, weight * score**2)
    return cost.sum() / len(DATA.train)


@pytest.mark.parametrize("name", ["mf", "taste"])
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_loss_of_a_block_of_all_users_and_its_gradient_are_those_of_all_cells(name, weight):
    model, objective = models()[name], WholeData(unobserved_weight=weight, users=4)
    (block,) = objective.batches(DATA, model, np.random.default_rng(1))
    loss, plain = objective.loss(model, block), cell_by_cell(model, weight)
    torch.testing.assert_close(loss, plain)
    parameters = list(model.parameters())
    for fast, slow in zip(*(torch.autograd.grad(cost, parameters) for cost in (loss, plain)), strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)


def test_the_mean_over_blocks_is_the_loss_of_all_users():
    model, objective = models()["mf"], WholeData(users=1)
    losses = [objective.loss(model, block) for block in objective.batches(DATA, model, np.random.default_rng(1))]
    assert len(losses) == objective.count(DATA) == 4
    torch.testing.assert_close(torch.stack(losses).mean(), cell_by_cell(model, 0.1))


@pytest.mark.parametrize("seed", range(6))  # the user who chose nothing comes first, last and in between
def test_the_loss_of_an_epoch_is_the_mean_over_all_users_and_its_pairs_are_all_cells(seed):
    model, moments = models()["mf"], []
    solver = Descent(model, WholeData(users=1), optimizer="sgd", learning_rate=1e-12, watch=moments.append)
    loss = solver.epoch(model, DATA, np.random.default_rng(seed))
    assert loss == pytest.approx(float(cell_by_cell(model, 0.1).detach()), rel=1e-4)
    assert [moment.pairs for moment in moments] == [5, 10, 15, 20]


def test_a_model_whose_score_is_no_inner_product_is_refused():
    class Tower(nn.Module):
        def forward(self, user, item):
            return user * item

    with pytest.raises(ConfigError, match="needs a score that is an inner product of codes, and that of Tower is none"):
        next(WholeData().batches(DATA, Tower(), np.random.default_rng(1)))


def test_every_rating_is_shown_once_and_costs_its_squared_error():
    data = Inputs(Interactions.of(["a", "a", "b"], ["x", "y", "x"], rating=[5.0, 3.0, 1.0]))
    model = MF(data.sizes)
    nn.init.zeros_(model.user_embedding.weight)
    model.item_bias.weight.data[:] = torch.tensor([[2.0], [3.0]])
    batches = list(Ratings(batch_size=2).batches(data, model, np.random.default_rng(1)))
    assert sorted(torch.cat([batch.label for batch in batches]).tolist()) == [1.0, 3.0, 5.0]
    total = sum(float(Ratings().loss(model, batch).detach()) * len(batch.label) for batch in batches)
    assert math.isclose(total, (5 - 2) ** 2 + 0 + (1 - 2) ** 2, rel_tol=1e-6)


def test_data_without_ratings_are_refused_by_the_objective_that_needs_them():
    with pytest.raises(ConfigError, match="needs ratings, and these data have none"):
        next(Ratings().batches(DATA, MF(DATA.sizes), np.random.default_rng(1)))
