"""What holds for every model in MODELS; a new one is tested here without a line being written."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from attlas.data.inputs import NAMES, Inputs, Sizes
from attlas.errors import ConfigError
from attlas.models import MODELS, model_class
from attlas.models.protocol import Sized, asked_by
from attlas.recommender import Recommender, load
from attlas.scoring import Scorer
from attlas.settings import build
from tests.toy import chosen_by, fitted, trained, two_tastes

every_model = pytest.mark.parametrize("name", MODELS)
with_history = pytest.mark.parametrize(
    "name", [name for name in MODELS if any(asked.endswith("history") for asked in asked_by(model_class(name)))]
)
alone = pytest.mark.parametrize("name", [name for name in MODELS if "observed" not in asked_by(model_class(name))])
of_the_matrix = pytest.mark.parametrize("name", [name for name in MODELS if "observed" in asked_by(model_class(name))])
descending = pytest.mark.parametrize("name", [name for name in MODELS if not getattr(model_class(name), "Solvers", {})])
SPLIT = two_tastes()
ALL_PAIRS = tuple(places.ravel() for places in np.meshgrid(np.arange(16), np.arange(16), indexing="ij"))


def margins(recommender: Recommender) -> np.ndarray:
    """By how much each user's withheld item stands above the best item of the other taste."""
    score = recommender.scorer.score_all(np.arange(16))
    return np.array([score[user, user] - score[user, 1 - user % 2 :: 2].max() for user in range(16)])


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("popularity", "linear")])
def test_a_model_ranks_the_withheld_item_above_every_item_of_the_other_taste(name):
    assert (margins(fitted(name)) > 0).all()


def test_popularity_cannot_tell_the_two_tastes_apart():
    assert (margins(fitted("popularity")) == 0).all()


@alone
def test_a_pairs_score_ignores_its_batch_mates(name):
    scorer, (user, item) = fitted(name).scorer, ALL_PAIRS
    together = scorer.score(user, item)
    for pair in np.random.default_rng(1).integers(0, 256, 12):
        alone = scorer.score(user[pair : pair + 1], item[pair : pair + 1])
        np.testing.assert_allclose(alone, together[pair : pair + 1], rtol=1e-5, atol=1e-6)


@of_the_matrix
def test_pairs_are_scored_as_if_none_of_those_together_had_been_in_the_matrix(name):
    scorer, train = fitted(name).scorer, fitted(name).inputs.train
    draw = np.random.default_rng(1)
    for _ in range(4):
        rows = draw.permutation(len(train))[:12]
        pairs = train.user[rows], train.item[rows]
        rebuilt = Inputs(train.take(np.setdiff1d(np.arange(len(train)), rows)))
        np.testing.assert_allclose(scorer.score(*pairs), Scorer(scorer.model, rebuilt).score(*pairs), rtol=1e-5, atol=1e-6)


@every_model
def test_a_pairs_score_ignores_the_order_of_the_history(name):
    train = fitted(name).inputs.train
    train = train.take(np.random.default_rng(1).permutation(len(train)))
    shuffled = Scorer(fitted(name).model, Inputs(train))
    np.testing.assert_array_equal(shuffled.score(*ALL_PAIRS), fitted(name).scorer.score(*ALL_PAIRS))


@with_history
def test_a_trained_pair_is_scored_as_if_its_row_had_never_been_there(name):
    scorer, train = fitted(name).scorer, SPLIT.train
    for row in np.random.default_rng(1).integers(0, len(train), 8):
        pair = train.user[[row]], train.item[[row]]
        blind = Scorer(scorer.model, Inputs(train.take(np.arange(len(train)) != row)))
        np.testing.assert_allclose(scorer.score(*pair), blind.score(*pair), rtol=1e-5, atol=1e-6)


@every_model
def test_the_whole_catalogue_scores_unseen_pairs_as_one_by_one(name):
    scorer, (user, item) = fitted(name).scorer, ALL_PAIRS
    is_unseen = fitted(name).inputs.train.by_user.toarray()[user, item] == 0
    catalogue = scorer.score_all(np.arange(16))
    assert catalogue.shape == (16, 16)
    assert catalogue.dtype == np.float32
    one_by_one = scorer.score(user[is_unseen], item[is_unseen])
    np.testing.assert_allclose(catalogue.ravel()[is_unseen], one_by_one, rtol=1e-5, atol=1e-6)


@every_model
def test_a_model_that_is_saved_and_loaded_scores_with_the_same_bits(name, tmp_path):
    saved = fitted(name)
    loaded = load(saved.save(tmp_path / "run"))
    assert loaded.scorer.score(*ALL_PAIRS).tobytes() == saved.scorer.score(*ALL_PAIRS).tobytes()
    user = np.arange(16)
    assert loaded.scorer.score_all(user).tobytes() == saved.scorer.score_all(user).tobytes()


def weights_of(recommender: Recommender) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in recommender.model.state_dict().items()}


@every_model
def test_the_same_seed_gives_the_same_weights_to_the_bit(name):
    torch.manual_seed(7)  # what others have drawn before must not matter
    assert weights_of(trained(name)) == weights_of(fitted(name))


@descending
def test_another_seed_gives_other_weights_everywhere(name):
    one, other = weights_of(fitted(name)), weights_of(trained(name, seed=2))
    assert all(one[tensor] != other[tensor] for tensor, _ in fitted(name).model.named_parameters())


@every_model
def test_scoring_changes_no_weight(name):
    recommender = fitted(name)
    before = weights_of(recommender)
    recommender.scorer.score(*ALL_PAIRS)
    recommender.scorer.score_all(np.arange(16))
    assert weights_of(recommender) == before


@every_model
def test_a_user_and_an_item_without_a_past_score_finite(name):
    sizes = Sizes(3, 4)
    torch.manual_seed(1)
    chosen: Any = model_class(name)
    scorer = Scorer(chosen(sizes).eval(), Inputs(chosen_by([[0, 1], [0], []], 4)))
    assert np.isfinite(scorer.score_all(np.arange(3))).all()
    assert np.isfinite(scorer.score(np.array([0, 1, 2, 2]), np.array([3, 0, 3, 0]))).all()


@every_model
def test_every_method_asks_for_names_from_the_closed_list(name):
    for method in ("forward", "score_catalogue", "encode_user", "encode_item", "attention"):
        if hasattr(model_class(name), method):
            assert set(asked_by(model_class(name), method)) <= set(NAMES)


@every_model
def test_an_unknown_setting_is_refused_and_the_defaults_are_not(name):
    chosen: Any = model_class(name)
    with pytest.raises(ConfigError, match=r"\[model\] has no setting 'no_such_setting'"):
        build(chosen.Config, {"no_such_setting": 1}, where="model")
    with pytest.raises((TypeError, ValueError), match="no_such_setting"):
        chosen.Config(no_such_setting=1)
    assert chosen(Sizes(2, 3)).config == build(chosen.Config, {}, where="model")


@every_model
def test_a_config_cannot_be_changed_once_it_is_made(name):
    config = fitted(name).model.config
    for setting in [*config.__dataclass_fields__, "anything"]:
        with pytest.raises(AttributeError):
            setattr(copy.copy(config), setting, 1)


@pytest.mark.parametrize("name", [name for name in MODELS if isinstance(model_class(name), Sized)])
def test_predicted_memory_is_positive_and_grows_with_the_data(name):
    chosen: Any = model_class(name)
    small, large = (chosen.memory(Sizes(size, size), chosen.Config()) for size in (100, 200))
    assert all(count > 0 for count in small.values())
    assert sum(large.values()) > sum(small.values())
    weights = sum(tensor.nbytes for tensor in chosen(Sizes(100, 100)).state_dict().values())
    assert sum(small.values()) > weights
