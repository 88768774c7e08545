import numpy as np
import pytest
import torch

from attlas.data.inputs import Inputs, Sizes
from attlas.data.interactions import Interactions
from attlas.errors import ConfigError
from attlas.models.biased_mf import BiasedMF
from attlas.runner import fit
from tests.toy import rated_tastes, two_tastes


def test_a_rating_is_the_mean_plus_both_biases_plus_the_product():
    model = BiasedMF(Sizes(1, 1), BiasedMF.Config(embedding_dim=2))
    model.mean.fill_(3.5)
    model.user_bias.weight.data.fill_(-0.5)
    model.item_bias.weight.data.fill_(0.25)
    model.user_embedding.weight.data[0] = torch.tensor([1.0, 2.0])
    model.item_embedding.weight.data[0] = torch.tensor([0.5, -1.0])
    assert model(torch.tensor([0]), torch.tensor([0])).item() == pytest.approx(3.5 - 0.5 + 0.25 + 0.5 - 2.0)
    assert model.score_catalogue(torch.tensor([0])).item() == pytest.approx(1.75)


def test_a_step_follows_the_article():
    data = Inputs(Interactions.of(["a"], ["x"], rating=[5.0]))
    model = BiasedMF(data.sizes, BiasedMF.Config(embedding_dim=1))
    values = {model.user_embedding: 2.0, model.item_embedding: 0.5, model.user_bias: 0.1, model.item_bias: 0.2}
    for table, value in values.items():
        table.weight.data.fill_(value)
    model.begin(data)
    loss = BiasedMF.SGD(learning_rate=0.1, l2=0.5).epoch(model, data, np.random.default_rng(1))
    error = 5.0 - (5.0 + 0.1 + 0.2 + 1.0)  # the mean of the one rating is the rating itself
    assert loss == pytest.approx(error**2)
    assert model.user_embedding.weight.item() == pytest.approx(2.0 + 0.1 * (error * 0.5 - 0.5 * 2.0))
    assert model.item_embedding.weight.item() == pytest.approx(0.5 + 0.1 * (error * 2.0 - 0.5 * 0.5))
    assert model.user_bias.weight.item() == pytest.approx(0.1 + 0.1 * (error - 0.5 * 0.1))
    assert model.item_bias.weight.item() == pytest.approx(0.2 + 0.1 * (error - 0.5 * 0.2))


def test_without_vectors_only_the_biases_are_learned_and_are_means_where_nothing_shrinks_them():
    user, item = np.meshgrid(np.arange(6), np.arange(6), indexing="ij")
    ratings = 3.0 + (user - 2.5) * 0.4 + (item - 2.5) * 0.2
    data = Inputs(Interactions.of(user.ravel().tolist(), item.ravel().tolist(), rating=ratings.ravel()))
    model, solver = BiasedMF(data.sizes, BiasedMF.Config(embedding_dim=0)), BiasedMF.SGD(learning_rate=0.1, l2=0.0)
    model.begin(data)
    for epoch in range(60):
        solver.epoch(model, data, np.random.default_rng(epoch))
    np.testing.assert_allclose(model.score_catalogue(torch.arange(6)).detach(), ratings, atol=1e-3)


def test_a_resumed_solver_takes_steps_as_small_as_the_one_that_went_on():
    solver = BiasedMF.SGD(learning_rate_decay=0.5)
    solver.epochs_done = 3
    other = BiasedMF.SGD(learning_rate_decay=0.5)
    other.restore(solver.state())
    assert other.epochs_done == 3


def test_a_model_of_ratings_is_stopped_and_measured_by_its_error():
    split = rated_tastes()
    is_valid = np.arange(len(split.train)) % 10 == 0
    parts = type(split)(split.train.take(~is_valid), split.train.take(is_valid), split.test, "rated")
    found = fit(parts, "biased_mf", config={"embedding_dim": 2}, solver={"learning_rate": 0.1}, epochs=8)
    assert found.card["training"]["valid"]["metric"] == "rmse"
    (report,) = found.card["reports"]
    assert report["protocol"] == "rating"
    assert report["num_rows"] == 16
    assert report["means"]["rmse"] < 1.0
    assert set(report["means"]) == {"rmse", "mae"}


def test_data_without_ratings_are_refused_before_training():
    with pytest.raises(ConfigError, match="biased_mf learns from ratings, and these data have none"):
        fit(two_tastes(), "biased_mf")


def test_a_ranking_metric_does_not_stop_a_model_of_ratings():
    with pytest.raises(ConfigError, match=r"metric = 'ndcg@10' is not known for rating"):
        fit(rated_tastes(), "biased_mf", metric="ndcg@10")


@pytest.mark.parametrize("name", ["popularity", "mf"])
def test_a_model_that_ranks_is_not_measured_in_ratings(name):
    with pytest.raises(ConfigError, match="is not known for ranking"):
        fit(rated_tastes(), name, metric="rmse")


def test_adam_trains_it_too_from_the_mean_on():
    solver = {"objective": "ratings", "learning_rate": 0.05}
    found = fit(rated_tastes(), "biased_mf", config={"embedding_dim": 2}, solver=solver, epochs=20)
    assert found.model.mean.item() == pytest.approx(rated_tastes().train.rating.mean())
    assert found.report.mean("rmse") < 1.0


@pytest.mark.parametrize(("name", "objective"), [("biased_mf", "bpr"), ("biased_mf", "pointwise"), ("mf", "ratings")])
def test_an_objective_of_the_other_task_is_refused(name, objective):
    with pytest.raises(ConfigError, match=f"objective = '{objective}' does not go with"):
        fit(rated_tastes(), name, solver={"objective": objective})


def test_users_that_were_held_out_whole_have_no_ratings_to_predict():
    data = rated_tastes().train
    with pytest.raises(ConfigError, match="split 'held-out-users' holds users out whole"):
        fit(data, "biased_mf", split="held-out-users")
