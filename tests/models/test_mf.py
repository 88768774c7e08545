import math

import numpy as np
import pytest
import torch

import attlas
from attlas.data.inputs import Inputs, Sizes
from attlas.models.mf import MF
from tests.toy import chosen_by, two_tastes

ONE_PAIR = Inputs(chosen_by([[0]], 1))


def worked() -> MF:
    model = MF(Sizes(1, 1), MF.Config(embedding_dim=2))
    for table, row in (
        (model.user_embedding, [1.0, 2.0]),
        (model.item_embedding, [0.5, -1.0]),
        (model.user_bias, [0.3]),
        (model.item_bias, [0.2]),
    ):
        table.weight.data[0] = torch.tensor(row)
    return model


def test_a_logit_is_the_product_of_the_vectors_plus_both_biases():
    assert worked()(torch.tensor([0]), torch.tensor([0])).item() == pytest.approx(0.5 - 2.0 + 0.3 + 0.2)


def test_a_step_moves_each_row_against_its_gradient_and_shortens_it():
    model = worked()
    loss = MF.SGD(learning_rate=0.1, l2=0.5).epoch(model, ONE_PAIR, np.random.default_rng(1))
    pull = 1 / (1 + math.exp(1.0)) - 1  # of the logit -1 towards the label 1; there is no other item to draw
    assert loss == pytest.approx(math.log1p(math.exp(1.0)))
    expected = [1.0 - 0.1 * (pull * 0.5 + 0.5 * 1.0), 2.0 - 0.1 * (pull * -1.0 + 0.5 * 2.0)]
    assert model.user_embedding.weight[0].tolist() == pytest.approx(expected)
    expected = [0.5 - 0.1 * (pull * 1.0 + 0.5 * 0.5), -1.0 - 0.1 * (pull * 2.0 - 0.5 * 1.0)]
    assert model.item_embedding.weight[0].tolist() == pytest.approx(expected)
    assert model.item_bias.weight.item() == pytest.approx(0.2 - 0.1 * (pull + 0.5 * 0.2))


@pytest.mark.parametrize("loss", ["pointwise", "bpr"])
def test_both_losses_fall_and_separate_what_was_chosen_from_the_rest(loss):
    data = Inputs(two_tastes().train)
    torch.manual_seed(1)
    model, solver = MF(data.sizes, MF.Config(embedding_dim=4)), MF.SGD(loss=loss, learning_rate=0.1)
    losses = [solver.epoch(model, data, np.random.default_rng(epoch)) for epoch in range(30)]
    assert losses[-1] < 0.6 * losses[0]
    score = model.score_catalogue(torch.arange(16)).detach().numpy()
    chosen = data.train.by_user.toarray() > 0
    liked = (np.arange(16)[:, None] - np.arange(16)) % 2 == 0
    assert score[chosen].min() > score[~liked].max()


def test_the_pairwise_loss_leaves_user_biases_alone():
    data = Inputs(two_tastes().train)
    model = MF(data.sizes)
    MF.SGD(loss="bpr", learning_rate=0.1).epoch(model, data, np.random.default_rng(1))
    assert (model.user_bias.weight == 0).all()
    assert (model.item_bias.weight != 0).any()


def test_the_whole_catalogue_in_one_product_equals_pair_by_pair():
    torch.manual_seed(1)
    model = MF(Sizes(3, 4), MF.Config(embedding_dim=2, stddev=2.0))
    torch.nn.init.normal_(model.user_bias.weight)
    torch.nn.init.normal_(model.item_bias.weight)
    user, item = (places.ravel() for places in torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij"))
    torch.testing.assert_close(model.score_catalogue(torch.arange(3)).ravel(), model(user, item))


def test_with_its_defaults_it_learns_more_than_popularity():
    club = attlas.simulate(400, 200, seed=1).interactions
    parts = attlas.split(club, "user-ratio")
    mf, popularity = (attlas.fit(parts, name).report.mean("ndcg@10") for name in ("mf", "popularity"))
    assert mf > 1.3 * popularity
