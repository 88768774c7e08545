import math

import numpy as np
import pytest
import torch

from attlas.data.inputs import Inputs
from attlas.models.itemknn import ItemKNN, feature_weights
from tests.toy import chosen_by

# Items 0 and 1 share two users of three each; 0 and 2 share one; item 3 shares its only user with 0.
CLUB = [[0, 1], [0, 1], [0, 2, 3], [1], [2]]


def counted(lists: list[list[int]], num_items: int, **settings) -> tuple[ItemKNN, Inputs]:
    inputs = Inputs(chosen_by(lists, num_items))
    model = ItemKNN(inputs.sizes, ItemKNN.Config(**{"shrink": 0.0, **settings}))
    ItemKNN.Count().epoch(model, inputs, np.random.default_rng(1))
    return model, inputs


def similarities(model: ItemKNN) -> torch.Tensor:
    """What each item (column) is told by each other item (row)."""
    num_items = len(model.start) - 1
    lists = [[item] for item in range(num_items)]
    inputs = Inputs(chosen_by(lists, num_items))
    history = inputs.gather(["user_history"], np.arange(num_items), np.zeros(num_items, np.int64), leave_out="keep")
    return model.score_catalogue(history["user_history"])


def random_lists() -> list[list[int]]:
    chosen = np.random.default_rng(1).random((25, 9)) < 0.35
    return [np.flatnonzero(row).tolist() for row in chosen]


def test_the_cosine_is_common_users_over_the_root_of_both_counts():
    model, _ = counted(CLUB, 4)
    expected = [[0, 2 / 3, 1 / 6**0.5, 1 / 3**0.5], [2 / 3, 0, 0, 0], [1 / 6**0.5, 0, 0, 1 / 2**0.5]]
    expected.append([1 / 3**0.5, 0, 1 / 2**0.5, 0])
    torch.testing.assert_close(similarities(model), torch.tensor(expected))


def test_jaccard_is_common_users_over_all_users_of_either():
    model, _ = counted(CLUB, 4, similarity="jaccard")
    expected = [[0, 2 / 4, 1 / 4, 1 / 3], [2 / 4, 0, 0, 0], [1 / 4, 0, 0, 1 / 2], [1 / 3, 0, 1 / 2, 0]]
    torch.testing.assert_close(similarities(model), torch.tensor(expected))


def test_shrink_is_added_to_the_denominator():
    model, _ = counted(CLUB, 4, shrink=5.0)
    assert similarities(model)[0, 1].item() == pytest.approx(2 / (3 + 5))
    model, _ = counted(CLUB, 4, shrink=5.0, similarity="jaccard")
    assert similarities(model)[0, 1].item() == pytest.approx(2 / (4 + 5))


def test_at_a_target_power_of_zero_the_cosine_is_the_share_of_who_chose_one_that_chose_the_target_too():
    model, _ = counted(CLUB, 4, target_power=0.0)
    shares = similarities(model)
    assert shares[3].tolist() == [1.0, 0.0, 1.0, 0.0]  # the one user of item 3 has chosen 0 and 2
    assert shares[0, 3].item() == pytest.approx(1 / 3)  # one of three users of item 0 has chosen 3


def test_each_target_keeps_its_most_similar_items_only():
    model, _ = counted(CLUB, 4, neighbours=1)
    expected = torch.zeros(4, 4)
    expected[1, 0] = expected[0, 1] = 2 / 3
    expected[3, 2] = expected[2, 3] = 1 / 2**0.5
    torch.testing.assert_close(similarities(model), expected)


def test_normalised_similarities_of_each_target_sum_to_one_or_are_none():
    model, _ = counted([*CLUB, [4]], 5, neighbours=2, normalise=True)
    torch.testing.assert_close(similarities(model).sum(0), torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))


def test_a_score_is_the_sum_of_the_similarities_of_what_was_chosen():
    model, inputs = counted(CLUB, 4)
    score = model(**inputs.gather(["item", "user_history"], np.array([2]), np.array([0])))
    assert score.item() == pytest.approx(1 / 6**0.5 + 1 / 3**0.5)  # items 2 and 3 speak for 0, which is left out


def test_tf_idf_weighs_a_user_by_how_few_items_they_have_chosen():
    user_weight, item_scale = feature_weights(np.array([1, 3, 9]), np.array([2, 1]), "tf-idf")
    assert user_weight.tolist() == [0.0, 0.0, 0.0]  # two items only: nobody is rare
    user_weight, item_scale = feature_weights(np.array([1, 4, 9]), np.full(10, 2), "tf-idf")
    np.testing.assert_allclose(user_weight, [math.log(5), math.log(2), 0.0])
    assert item_scale.tolist() == [1.0] * 10


def test_bm25_scales_an_item_of_mean_length_by_one_and_a_longer_one_down():
    _, scale = feature_weights(np.array([1, 1]), np.array([1, 2, 3]), "bm25")
    # (k1 + 1) / (k1 (1 - b + b |R_i| / mean) + 1) with k1 = 1.2 and b = 0.8
    np.testing.assert_allclose(scale, [2.2 / (1.2 * (0.2 + 0.8 * 0.5) + 1), 1.0, 2.2 / (1.2 * (0.2 + 0.8 * 1.5) + 1)])


def test_without_shrink_the_scale_of_bm25_cancels_in_the_cosine():
    lists = random_lists()
    one, other = (similarities(counted(lists, 9, weighting=weighting)[0]) for weighting in ("tf-idf", "bm25"))
    torch.testing.assert_close(one, other)
    assert one.count_nonzero() > 0


def test_the_explained_contributions_sum_to_the_score():
    model, inputs = counted(random_lists(), 9, neighbours=4)
    item = torch.tensor([4])
    scores = []
    for user in range(25):
        mine = inputs.gather(["user_history"], [user], [4])["user_history"].of_pairs(slice(0, 1))
        contribution = model.attention(item, mine)["user_history"]
        assert contribution.shape == mine.index.shape
        scores.append(model(item, mine).item())
        assert contribution.sum().item() == pytest.approx(scores[-1], abs=1e-6)
    assert max(scores) > 0


def test_an_item_that_nobody_chose_is_nobodys_neighbour():
    model, _ = counted([[0, 1], [1]], 3)
    found = similarities(model)
    assert found[2].tolist() == [0.0, 0.0, 0.0]
    assert found[:, 2].tolist() == [0.0, 0.0, 0.0]


def test_the_model_stays_small_where_items_are_many():
    need = sum(ItemKNN.memory(Inputs(chosen_by([[0]], 35_000)).sizes, ItemKNN.Config(neighbours=100)).values())
    assert need < 300e6 < 35_000**2 * 4 / 10
