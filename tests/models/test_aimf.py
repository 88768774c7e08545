"""The worked example of the paper's notes, what each part becomes when it is switched off, and the twins of what is fast."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from attlas.data.inputs import Inputs, Sizes
from attlas.data.interactions import Interactions
from attlas.data.observed import Observed
from attlas.errors import ConfigError
from attlas.models.aimf import AIMF
from attlas.models.biased_mf import BiasedMF
from attlas.models.slide_attention import SlideAttention
from attlas.ops.correlation import correlate_by_fft as correlate
from attlas.ops.factors import factorise
from attlas.runner import fit
from attlas.scoring import Scorer
from tests.toy import fitted, rated_tastes, two_tastes

R = [[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5]]
P = [[0.9, 0.2, 0.1], [0.7, 0.1, 0.3], [0.2, 0.8, 0.5]]
Q = [[0.8, 0.3, 0.2], [0.5, 0.4, 0.1], [0.3, 0.6, 0.7], [0.1, 0.9, 0.4]]
W_N = [[0.1, 0.0, 0.2], [0.0, 0.3, -0.1], [0.2, 0.1, 0.0], [-0.1, 0.2, 0.1]]
W_M = [[0.1, 0.2, 0.0], [0.0, -0.1, 0.3], [0.2, 0.0, 0.1]]
PLAIN: dict[str, Any] = {"depth": 0, "neighbours": None, "adds_own": False, "centre": "mean", "row_sum": "sum", "cold": "parts"}
SLIDES: dict[str, Any] = {"is_scaled": False, "correlation": "fft", "projection": "right", "depth": 0}
EVERY = tuple(torch.from_numpy(place.ravel()) for place in np.meshgrid(np.arange(3), np.arange(4), indexing="ij"))


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(found: torch.Tensor, expected: Any) -> None:
    """To the six decimals of the worked example."""
    assert_close(found.detach(), tensor(expected), rtol=0, atol=6e-7)


def club() -> Inputs:
    """The worked example's matrix; 0 is not rated."""
    user, item = np.nonzero(R)
    empty = Interactions.of_matrix(np.ones((3, 4)))
    return Inputs(Interactions(empty.users, empty.items, user, item, np.array(R, np.float32)[user, item]))


def worked(**settings: Any) -> AIMF:
    """The worked example's model."""
    config = AIMF.Config(**{**PLAIN, "embedding_dim": 3, "attention_dim": 3, "implicit": 0.5, "explicit": 0.3, **settings})
    model = AIMF(Sizes(3, 4), config).double()
    model.mean.fill_(2.625)
    given = {"user_embedding": P, "item_embedding": Q, "user_bias": [[0.1], [-0.2], [0.05]]}
    given |= {"item_bias": [[0.3], [-0.1], [0.0], [0.2]]}
    for name, values in given.items():
        getattr(model, name).weight.data.copy_(tensor(values))
    if config.explicit:
        model.user_attention.projection.weight.data.copy_(tensor(W_N))
        model.item_attention.projection.weight.data.copy_(tensor(W_M))
    return model


def free(**settings: Any) -> AIMF:
    """A model of the same users and items with random weights everywhere, so that no part hides behind zeros or ones."""
    model = AIMF(Sizes(3, 4), AIMF.Config(**{"embedding_dim": 4, "attention_dim": 3, **settings})).double()
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.mean.fill_(2.6)
    return model


QUERY, KEY, VALUE = [0.2, -0.1, 0.4], [0.5, 0.3, -0.2], [1.0, 0.5, -0.4]
A = [-0.010000, 0.280000, 0.030000]
O = [0.296100, 0.395716, 0.308184]  # noqa: E741
Z = {
    "slide": [0.370684, 0.297948, 0.431368],
    "gate": [0.296100, 0.197858, -0.123274],
    "literal": [0.300000, 0.150000, -0.120000],
    "unslid": [1.000000, 0.500000, -0.400000],
    "raw": [0.118000, -0.087000, 0.299000],
}


def one(*rows: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    return tensor(list(rows)), torch.arange(len(rows))


def slide_product(
    value: Any, left: list[float], query: list[float] = QUERY, key: list[float] = KEY, scaled: bool = False
) -> Any:
    """left . z by the module that the model uses, for one user and one item."""
    dim = len(query)
    slide = SlideAttention(1, 1, dim, len(key), **{**SLIDES, "value": value, "is_scaled": scaled}).double()
    user_code = torch.cat([tensor([left]), slide.scale * tensor([query])], dim=-1)
    other = VALUE if len(key) == 3 else [1.0, 0.5, -0.4, 0.2]
    row = torch.zeros(1, dtype=torch.int64)
    return slide(user_code, row, tensor([[*other, *key]]), row)


def test_a_query_scores_every_window_of_the_key_as_in_the_worked_example():
    (query, row), (key, _) = one(QUERY), one(KEY)
    logit_BE = correlate(query, row, key, row)
    close(logit_BE[0], A)
    assert float(logit_BE.sum()) == pytest.approx(0.5 * 0.6)
    close(torch.softmax(logit_BE[0], dim=-1), O)
    close(torch.softmax(logit_BE[0] / 3**0.5, dim=-1), [0.311951, 0.368809, 0.319239])


@pytest.mark.parametrize("value", Z)
def test_what_becomes_of_the_scores_is_that_of_the_worked_example_in_every_reading(value):
    units = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    close(torch.stack([slide_product(value, unit).sum() for unit in units]), Z[value])


def test_the_product_with_the_query_is_a_soft_choice_among_shifts_as_in_the_worked_example():
    parts_B3 = slide_product("slide", QUERY)
    assert float(parts_B3.sum()) == pytest.approx(0.216889, abs=6e-7)
    (query, row), (value, _) = one(QUERY), one(VALUE)
    close(parts_B3[0], (tensor(O) * correlate(query, row, value, row)[0]).tolist())


def test_a_user_with_fewer_features_than_an_item_slides_as_in_the_worked_example():
    query, key = [0.2, -0.1], [0.5, 0.3, -0.2, 0.1]
    (left, row), (right, _) = one(query), one(key)
    logit_BE = correlate(left, row, right, row)
    close(logit_BE[0], [0.070000, 0.080000, -0.050000, -0.030000])
    weight_E = torch.softmax(logit_BE[0], dim=-1)
    close(weight_E, [0.263033, 0.265676, 0.233289, 0.238002])
    units = [[1.0, 0.0], [0.0, 1.0]]
    close(torch.stack([slide_product("slide", unit, query, key).sum() for unit in units]), [0.350156, 0.309906])
    close(weight_E * tensor([1.0, 0.5, -0.4, 0.2]), [0.263033, 0.132838, -0.093316, 0.047600])  # the gate's z


def test_sliding_moves_mass_between_features_and_makes_none():
    units = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert sum(float(slide_product("slide", unit).sum()) for unit in units) == pytest.approx(sum(VALUE), abs=1e-12)
    assert sum(float(slide_product("raw", unit).sum()) for unit in units) != pytest.approx(sum(VALUE), abs=0.1)


@pytest.mark.parametrize("value", Z)
def test_only_the_degenerate_readings_cannot_tell_a_query_from_its_permutation(value):
    product, permuted = (float(slide_product(value, QUERY, query).sum()) for query in (QUERY, [-0.1, 0.4, 0.2]))
    assert (product == pytest.approx(permuted, abs=1e-9)) == (value in ("literal", "unslid"))


def test_the_implicit_scores_are_those_of_the_worked_example():
    model, observed = worked(), club().observed
    expected = [
        [0.543499, 0.409375, 0.649264, 0.596909],
        [0.487817, 0.371251, 0.591347, 0.530555],
        [0.660857, 0.504554, 0.804446, 0.717469],
    ]
    close(model.shifts(*EVERY, observed).sum(-1).view(3, 4) / 0.5, expected)


def test_attention_among_users_is_that_of_the_worked_example():
    model, observed = worked(), club().observed
    told = model.centred(observed), observed.count("user"), torch.arange(3)
    expected = [[0.363461, 0.350928, 0.285611], [0.354487, 0.352097, 0.293416], [0.311736, 0.317040, 0.371224]]
    close(model.user_attention.weights(*told), expected)
    expected = [[0.136419, -0.194857, 0.160852], [0.130058, -0.193428, 0.159101], [0.071317, -0.173922, 0.149236]]
    close(model.user_attention(*told), expected)


def test_attention_among_items_is_that_of_the_worked_example_and_uniform_for_who_has_no_ratings():
    model, observed = worked(), club().observed
    told = model.centred(observed).transposed, observed.count("item"), torch.arange(4)
    expected = [
        [0.275436, 0.249079, 0.247667, 0.227819],
        [0.248977, 0.264514, 0.247566, 0.238943],
        [0.25, 0.25, 0.25, 0.25],
        [0.230036, 0.241367, 0.250078, 0.278518],
    ]
    close(model.item_attention.weights(*told), expected)
    expected = [
        [-0.024517, 0.074620, -0.028571],
        [-0.023163, 0.065040, -0.040475],
        [-0.015625, 0.062500, -0.040625],
        [-0.002484, 0.050481, -0.051343],
    ]
    close(model.item_attention(*told), expected)


def test_the_ratings_and_their_errors_are_those_of_the_worked_example():
    model, data = worked(), club()
    rating_UI = model(*EVERY, data.observed).view(3, 4)
    expected = [
        [4.090005, 3.362985, 3.503378, 3.527924],
        [3.612258, 2.924016, 3.194498, 3.164801],
        [3.799731, 3.291576, 3.961809, 4.168749],
    ]
    close(rating_UI, expected)
    error_N = rating_UI[data.train.user, data.train.item] - tensor(data.train.rating.tolist())
    close(error_N.square().sum(), 25.967746)
    close(error_N.square().mean().sqrt(), 1.801657)
    close(error_N.abs().mean(), 1.534500)


def test_the_catalogue_is_scored_as_pairs_are():
    model, observed = free(), club().observed
    codes = model.encode_user(torch.arange(3), observed), model.encode_item(torch.arange(4), observed)
    assert_close(model.match(codes[0][:, None], codes[1][None]), model(*EVERY, observed).view(3, 4))


def literal(model: AIMF, observed: Observed, user: int, item: int) -> torch.Tensor:
    """One rating from the definition, with loops over windows and the whole of every attention matrix."""
    config, (p, q) = model.config, (model.user_embedding.weight, model.item_embedding.weight)
    rc = torch.zeros(len(p), len(q), dtype=torch.float64)
    rc[observed.by_user.owner, observed.by_user.index] = observed.user_value.double() - model.mean
    rc.view(-1)[(observed.by_user.owner * len(q) + observed.by_user.index)[observed.user_hidden]] = 0.0

    def attended(attention: Any, matrix: torch.Tensor) -> torch.Tensor:
        x = matrix @ attention.projection.weight
        weight = torch.softmax((x @ attention.query) @ (x @ attention.key).T / config.attention_dim**0.5, dim=-1)
        return weight @ (x @ attention.value)

    explicit = attended(model.user_attention, rc)[user] @ attended(model.item_attention, rc.T)[item]
    slide = model.slide
    deep, deep_item = slide.user_deep(p[user]), slide.item_deep(q[item])
    query, key, value = deep @ slide.query, deep_item @ slide.key, deep_item @ slide.value
    size = len(key)
    windows = [[(t + d) % size for d in range(len(query))] for t in range(size)]
    weight = torch.softmax(torch.stack([query @ key[window] for window in windows]) / len(query) ** 0.5, dim=-1)
    implicit = deep @ sum(weight[t] * value[window] for t, window in enumerate(windows))
    bias = model.mean + model.user_bias.weight[user, 0] + model.item_bias.weight[item, 0]
    return bias + p[user] @ q[item, : len(query)] + config.implicit * implicit + config.explicit * explicit


@pytest.mark.parametrize(
    "settings", [{}, {"correlation": "windows"}, {"user_dim": 2}, {"user_dim": 1, "correlation": "windows"}]
)
def test_the_fast_way_equals_the_literal_definition_in_values_and_gradients(settings):
    model, data = free(**{**PLAIN, "depth": 2, **settings}), club()
    user, item = torch.tensor([0, 1, 0, 2]), torch.tensor([0, 3, 2, 1])
    observed = data.gather(["observed"], user, item)["observed"]
    expected = torch.stack([literal(model, observed, *pair) for pair in zip(user.tolist(), item.tolist(), strict=True)])
    found, mixture, parameters = model(user, item, observed), tensor([1.0, -2.0, 0.5, 3.0]), list(model.parameters())
    assert_close(found, expected)
    assert_close(*(torch.autograd.grad((value * mixture).sum(), parameters) for value in (found, expected)))


@pytest.mark.parametrize("settings", [{}, {"centre": "bias", "adds_own": False}, {"neighbours": 2, "row_sum": "sum"}])
def test_a_batch_is_scored_as_if_none_of_its_ratings_had_been_in_the_matrix(settings):
    model, data = free(**settings), club()
    rows = np.array([1, 3, 5])
    user, item = (torch.from_numpy(index[rows]) for index in (data.train.user, data.train.item))
    rebuilt = Inputs(data.train.take(np.setdiff1d(np.arange(len(data.train)), rows)))
    hidden = model(**data.gather(["user", "item", "observed"], user, item))
    assert_close(hidden, model(user, item, rebuilt.observed))
    assert not torch.allclose(hidden, model(user, item, data.observed))


def test_hiding_reaches_query_key_and_value_of_every_other_pair_too():
    model, data = free(neighbours=None), club()
    pair, other = (torch.tensor([0]), torch.tensor([0])), (torch.tensor([2]), torch.tensor([3]))
    together = data.observed.hide(*other)
    assert not torch.allclose(model(*pair, together), model(*pair, data.observed))


def test_a_query_mixes_the_features_of_all_users_on_the_left_and_those_of_one_on_the_right():
    left, right = free(projection="left", depth=0), free(depth=0)
    table = left.user_embedding.weight
    deep_BD, query_BD = left.slide.user_code(table, torch.tensor([2, 0]))
    assert_close(deep_BD, table[[2, 0]])
    assert_close(query_BD, ((left.slide.query @ table) / 2)[[2, 0]])
    assert_close(right.slide.user_code(table, torch.tensor([2]))[1], table[[2]] @ right.slide.query / 2)
    value_BE, key_BE = left.slide.item_code(left.item_embedding.weight, torch.tensor([3]))
    assert_close(value_BE, (left.slide.value @ left.item_embedding.weight)[[3]])
    assert_close(key_BE, (left.slide.key @ left.item_embedding.weight)[[3]])


def test_with_both_factors_at_zero_it_is_biased_matrix_factorisation():
    model, observed = free(implicit=0.0, explicit=0.0), club().observed
    biased = BiasedMF(Sizes(3, 4), BiasedMF.Config(embedding_dim=4)).double()
    assert set(model.state_dict()) == set(biased.state_dict())
    biased.load_state_dict(model.state_dict())
    assert_close(model(*EVERY, observed), biased(*EVERY))


@pytest.mark.parametrize(("part", "other"), [("implicit", "explicit"), ("explicit", "implicit")])
def test_a_part_whose_factor_is_zero_is_not_there(part, other):
    model = free(**{part: 0.0})
    assert not any(
        name.startswith(("slide",) if part == "implicit" else ("user_att", "item_att")) for name in model.state_dict()
    )
    assert torch.isfinite(model(*EVERY, club().observed)).all()
    assert getattr(model.config, other) > 0


def test_a_perceptron_begins_as_if_it_were_not_there_and_moves():
    deep, flat = (AIMF(Sizes(3, 4), AIMF.Config(embedding_dim=4, depth=depth)) for depth in (2, 0))
    flat.load_state_dict({name: weight for name, weight in deep.state_dict().items() if "deep" not in name})
    observed = club().observed
    score = deep(*EVERY, observed)
    assert_close(score, flat(*EVERY, observed))
    score.square().sum().backward()
    assert deep.slide.user_deep.layers[-1].weight.grad.abs().max() > 0


def test_self_attention_asks_the_rows_with_the_most_ratings_of_equal_ones_the_first():
    attention = free(neighbours=2).item_attention
    assert attention.asked(torch.tensor([1, 3, 0, 3, 3])).tolist() == [1, 3]
    assert free(neighbours=None).item_attention.asked(torch.tensor([1, 3, 0])).tolist() == [0, 1, 2]


def test_shifts_neighbours_and_ratings_sum_to_the_parts_of_the_rating():
    model, pair = free(neighbours=2), (torch.tensor([0]), torch.tensor([3]))
    observed = club().observed.hide(*pair)
    no_slide = free(neighbours=2, implicit=0.0)
    no_slide.load_state_dict({name: weight for name, weight in model.state_dict().items() if "slide" not in name})
    plain = AIMF(Sizes(3, 4), AIMF.Config(embedding_dim=4, implicit=0.0, explicit=0.0)).double()
    plain.load_state_dict({name: weight for name, weight in model.state_dict().items() if name in plain.state_dict()})
    explicit = no_slide(*pair, observed) - plain(*pair, observed)
    assert_close(model.shifts(*pair, observed).sum(-1), model(*pair, observed) - no_slide(*pair, observed))
    by_user_BU = model.neighbours(*pair, observed)
    assert_close(by_user_BU.sum(-1), explicit)
    by_rating_T = model.ratings(*pair, observed)
    assert_close(torch.zeros(3).double().index_add(0, observed.by_user.owner, by_rating_T), by_user_BU[0])
    assert by_rating_T[observed.user_hidden].tolist() == [0.0]


def test_who_has_no_rating_adds_the_bias_alone():
    model, data = free(), club()
    observed = data.observed.hide(torch.tensor([1, 1]), torch.tensor([0, 3]))  # all that the second user has rated
    model.user_embedding.weight.data[1] = 0.0  # as it begins for who has no rating in training
    user, item = torch.tensor([1]), torch.tensor([1])
    assert_close(model(user, item, observed), model.mean + model.user_bias.weight[1] + model.item_bias.weight[1])
    unrated = torch.tensor([2])  # nobody has rated the third item
    model.item_embedding.weight.data[2] = 0.0
    bias = model.mean + model.user_bias.weight[0] + model.item_bias.weight[2]
    assert_close(model(torch.tensor([0]), unrated, data.observed), bias)


def test_features_begin_in_the_directions_of_non_negative_factors_and_at_zero_without_ratings():
    torch.manual_seed(3)
    model, data = AIMF(Sizes(3, 4), AIMF.Config(embedding_dim=2, stddev=0.2)), club()
    tables = model.user_embedding.weight, model.item_embedding.weight
    begin = [table.detach().abs() for table in tables]
    model.begin(data)
    assert float(model.mean) == 2.625
    users, items = factorise(*begin, data.observed.by_user, data.observed.user_value, steps=50)
    known = items[[0, 1, 3]] - items[[0, 1, 3]].mean(0)
    assert_close(tables[1][[0, 1, 3]].detach(), known / known.std() * 0.2 / 2**0.5)
    assert_close(tables[0].detach(), (users - users.mean(0)) / (users - users.mean(0)).std() * 0.2 / 2**0.5)
    assert tables[1][2].tolist() == [0.0, 0.0]


def test_a_random_start_keeps_the_features_as_they_were_drawn():
    model, data = AIMF(Sizes(3, 4), AIMF.Config(embedding_dim=2, start="random")), club()
    drawn = model.item_embedding.weight.detach().clone()
    model.begin(data)
    drawn[2] = 0.0
    assert torch.equal(model.item_embedding.weight, drawn)


def test_the_penalty_is_that_of_the_vectors_and_biases_of_every_rating_and_of_every_weight_once():
    model, pairs = worked(l2=0.5, weight_l2=0.0), (torch.tensor([0, 0]), torch.tensor([0, 3]), club().observed)
    mine, first, last = 0.81 + 0.04 + 0.01 + 0.01, 0.64 + 0.09 + 0.04 + 0.09, 0.01 + 0.81 + 0.16 + 0.04
    of_ratings = 0.5 * (mine + (first + last) / 2)
    assert model.penalise(*pairs).item() == pytest.approx(of_ratings)
    identities = 9 * 3  # three of the slide, three of each attention, three ones in each
    tables = (P, Q, W_N, W_M, [[0.1, -0.2, 0.05], [0.3, -0.1, 0.0, 0.2]])
    of_weights = 0.1 / 8 * (identities + sum(weight**2 for table in tables for row in table for weight in row))
    assert worked(l2=0.5, weight_l2=0.1).penalise(*pairs).item() == pytest.approx(of_ratings + of_weights)


def test_data_without_ratings_are_refused_before_training():
    with pytest.raises(ConfigError, match="aimf learns from ratings, and these data have none"):
        fit(two_tastes(), "aimf")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"user_dim": 5}, "user_dim = 5 is more than embedding_dim = 4"),
        ({"user_dim": 2, "value": "gate"}, "value = 'gate' gives a vector as long as an item's, 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        AIMF.Config(**{"embedding_dim": 4, **settings})


def test_matrices_on_the_left_are_counted_before_they_are_made():
    sizes = Sizes(20_000, 10_000)
    plain, left = (sum(AIMF.memory(sizes, AIMF.Config(projection=side)).values()) for side in ("right", "left"))
    assert left - plain == 20 * (20_000**2 + 2 * 10_000**2)


@pytest.mark.parametrize(
    "settings", [{"value": value} for value in ("gate", "raw", "literal", "unslid")] + [{"projection": "left"}]
)
def test_every_reading_trains(settings):
    found = fit(
        rated_tastes(),
        "aimf",
        config={"embedding_dim": 4, **settings},
        solver={"learning_rate": 0.03, "batch_size": 32},
        epochs=12,
    )
    assert found.report.mean("rmse") < 1.0


def test_predicted_ratings_stay_within_those_of_training_where_they_are_measured():
    model, test = copy.deepcopy(fitted("aimf").model), rated_tastes().test
    model.item_bias.weight.data += 10.0
    scorer = Scorer(model, fitted("aimf").inputs)
    assert (scorer.score(test.user, test.item) > 5).all()
    assert (scorer.score_rows(test) == 5).all()
