"""AFM against its worked example, against its equations pair by pair, and what a part switched off makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from attlas.data.fields import Crossed
from attlas.data.inputs import Fields, Sizes
from attlas.errors import ConfigError
from attlas.models.afm import AFM, Softened
from attlas.models.fm import FM
from attlas.models.nfm import NFM
from attlas.ops import fields as field_ops
from attlas.ops.fields import weighted_pair_sum
from attlas.training.labelled import Logistic, Squared
from attlas.training.objectives import Batch
from tests.models.field_rows import SIZES, give_example, gradients, literal_products, random_rows, row, with_bags

SHAPE = Sizes(1, 1, (4, 3, 5, 2))
PRODUCTS = [[-0.15, -0.8, 0.24], [0.175, -0.05, -0.05], [-0.2, -0.6, 0.02]]
PRODUCTS += [[-0.105, 0.04, -0.3], [0.12, 0.48, 0.12], [-0.14, 0.03, -0.025]]
HIDDEN = [[0.4280, -0.0490], [0.2650, -0.2475], [0.2740, -0.1620], [0.0110, -0.3055], [0.0540, 0.0920], [0.0490, -0.0435]]
LOGITS = [0.642000, 0.397500, 0.411000, 0.016500, 0.007400, 0.073500]
ATTENTION = [0.237623, 0.186081, 0.188611, 0.127127, 0.125975, 0.134583]
SCORES = [-0.070, 0.050, -0.460, -0.685, 0.600, -0.175]


def example(**settings: Any) -> Any:
    config = AFM.Config(embedding_dim=3, attention_dim=2, **{"dropout": 0.0, "l2": 0.1, **settings})
    model: Any = give_example(AFM(SIZES, config))
    with torch.no_grad():
        model.projection.copy_(doubles(1, 0.5, 2))
        if config.attention == "network":
            model.key.copy_(doubles([0.6, -0.4, 0.2], [-0.5, 0.3, 0.9]).T)
            model.bias.copy_(doubles(0.15, -0.1))
            model.query.copy_(doubles(1.5, -0.8))
    return model


def one_of(**settings: Any) -> Any:
    torch.manual_seed(1)
    config = {"embedding_dim": 6, "attention_dim": 3, "stddev": 1.0, "dropout": 0.0, **settings}
    model = AFM(SHAPE, AFM.Config(**config)).double().eval()
    if model.free is not None:
        torch.nn.init.normal_(model.free)
    return model


def doubles(*numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def near(found: Tensor, *numbers: Any) -> None:
    assert_close(found.detach(), doubles(*numbers), atol=5.1e-7, rtol=0)


def attended(model: Any, fields: Fields) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, weights and scores of every pair by the paper's equations, [B, P] each."""
    products = literal_products(model, fields)[1]
    logit = (products @ model.key + model.bias).clamp(min=0) @ model.query
    return logit, logit.exp() / logit.exp().sum(-1, keepdim=True), products @ model.projection


def literal(model: Any, fields: Fields) -> Tensor:
    _, weight, score = attended(model, fields)
    return model.factors.bias + literal_products(model, fields)[0] + (weight * score).sum(-1)


def test_the_products_are_those_of_the_worked_example():
    near(literal_products(example(), row())[1][0], *PRODUCTS)


def test_the_hidden_layer_is_that_of_the_worked_example():
    model = example()
    near(literal_products(model, row())[1][0] @ model.key + model.bias, *HIDDEN)


def test_the_logits_are_those_of_the_worked_example():
    model, entries = example(), example().factors(row())
    pairs = field_ops.distinct_pairs(entries.index)
    logit, score = field_ops.judge_pairs(
        entries.vector, pairs.one, pairs.other, model.key, model.bias, model.query, model.projection
    )
    near(logit[pairs.place[0]], *LOGITS)
    near(score[pairs.place[0]], *SCORES)


def test_the_attention_and_the_scores_of_pairs_are_those_of_the_worked_example():
    weight, score = example().weigh_pairs(row())
    near(weight[0], *ATTENTION)
    near(score[0], *SCORES)


def test_the_attention_of_a_row_sums_to_one_and_is_not_one_everywhere():
    weight, _ = one_of().weigh_pairs(random_rows(SHAPE.fields, 20))
    assert_close(weight.sum(-1), torch.ones(20, dtype=torch.float64))
    assert weight.max() < 1


def test_the_pooled_vector_is_that_of_the_worked_example():
    model = example()
    entries = model.factors(row())
    pooled = weighted_pair_sum(entries.vector, entries.index, model.weigh_pairs(row())[0])
    near(pooled[0], -0.057874, -0.242978, 0.025112)
    near(pooled @ model.projection, -0.129139)


def test_the_linear_part_and_the_score_are_those_of_the_worked_example():
    model = example()
    near(model.factors.bias + model.factors(row()).linear(), 0.6)
    near(model(row()), 0.470861)


@pytest.mark.parametrize(("attention", "score"), [("uniform", 0.476667), ("none", -0.14)])
def test_the_scores_without_attention_are_those_of_the_worked_example(attention, score):
    near(example(attention=attention)(row()), score)


def test_the_score_with_a_projection_of_ones_is_that_of_the_worked_example():
    model = example()
    torch.nn.init.ones_(model.projection)
    near(model(row()), 0.324260)


def test_the_losses_are_those_of_the_worked_example():
    model = example()
    score, penalty = model(row()), model.penalise(row())
    chosen, other = (Batch({"fields": row()}, doubles(label)) for label in (1, 0))
    squared = Squared().loss(model, chosen)[None]
    near(squared, 0.279988)
    near(penalty[None] / 0.1, 1.71)
    near(squared + penalty, 0.450988)
    near((squared + penalty) / 2, 0.225494)
    near(score.sigmoid(), 0.615587)
    near(Logistic().loss(model, chosen)[None], 0.485178)
    near(Logistic().loss(model, other)[None], 0.956039)


class Mask(torch.nn.Module):
    """Drops what it is told to, scaled as by a keep of a half."""

    def __init__(self, *kept: float):
        super().__init__()
        self.factor = 2 * doubles(*kept)

    def forward(self, value: Tensor) -> Tensor:
        return value * self.factor


def test_dropping_from_the_pooled_vector_gives_what_the_worked_example_says():
    model = example(dropout=0.5).train()
    model.dropout = Mask(1, 0, 1)
    near(model(row()), 0.584700)


def test_dropping_from_the_attention_gives_what_the_worked_example_says():
    model = example(attention_dropout=0.5).train()
    model.attention_dropout = Mask(0, 1, 1, 0, 1, 1)
    near(model(row()), 0.549152)


def test_the_parts_of_a_split_are_those_of_the_worked_example_and_merge_to_the_whole():
    """The context holds features 0, 2 and 3, the item is feature 5."""
    logit, score = doubles(*LOGITS), doubles(*SCORES)
    inside, across = (Softened.of(logit[places], score[places]) for places in ([0, 1, 3], [2, 4, 5]))
    merged = inside.merged(across)
    near(torch.stack(inside), 0.642000, 2.318090, -0.397316)
    near(torch.stack(across), 0.411000, 2.381463, -0.184125)
    near(torch.stack(merged), 0.642000, 4.208351, -0.543463)
    near((merged.weighted / merged.total)[None], -0.129139)


def test_the_split_by_context_and_item_gives_the_score_of_the_worked_example():
    whole = row()
    halves = [Fields(whole.index[:, places], whole.value[:, places]) for places in ([0, 1, 2], [3])]
    near(example().score_catalogue(Crossed(*halves, (0, 1, 2), (3,))), [0.470861])


def test_the_gradients_of_the_squared_error_are_those_of_the_worked_example():
    model = example()
    score = model(row())
    near(2 * (score - 1), -1.058278)
    model.zero_grad()
    (1 - score).square().sum().backward()
    near(model.key.grad.T, [-0.056373, -0.104152, -0.052121], [0.009332, 0.037327, 0.009332])
    near(model.bias.grad, 0, 0.077765)
    near(model.query.grad, -0.001725, -0.008943)
    near(model.projection.grad, 0.061247, 0.257138, -0.026576)
    vectors = [[0.055487, -0.180970, -0.545715], [0, 0, 0], [-0.052085, 0.120203, -0.062402]]
    vectors += [[-0.019775, -0.028746, -0.202570], [0, 0, 0], [-0.039969, 0.147665, -0.276123]]
    near(model.factors.vector.grad, *vectors)
    near(model.factors.weight.grad[:, 0], -1.058278, 0, -1.058278, -0.529139, 0, -1.058278)
    near(model.factors.bias.grad[None], -1.058278)


def test_the_gradients_by_the_logits_are_those_of_the_worked_example():
    """Free attention has the logits themselves for parameters; fields of 1, 2, 2 and 1 features have 13 pairs of them."""
    model, places = example(attention="free"), [1, 2, 4, 7, 10, 11]
    with torch.no_grad():
        model.free[places] = doubles(*LOGITS)
    (1 - model(row())).square().sum().backward()
    near(model.free.grad[places], -0.014872, -0.035277, 0.066041, 0.074783, -0.097206, 0.006532)
    near(model.free.grad.sum()[None], 0)
    assert model.free.grad.count_nonzero() == 6


@pytest.mark.parametrize("weighed", [False, True])
def test_judging_equal_pairs_once_equals_the_equations_in_values_and_gradients(weighed):
    model, fields = one_of(), random_rows(SHAPE.fields, 40, weighed=weighed)
    assert_close(model(fields), literal(model, fields))
    for fast, slow in zip(gradients(model, model(fields)), gradients(model, literal(model, fields)), strict=True):
        assert_close(fast, slow)


def test_the_way_with_dropout_equals_the_equations_in_values_and_gradients():
    model, fields = one_of(dropout=0.5).train(), random_rows(SHAPE.fields, 40)
    model.dropout = Mask(1, 0, 1, 1, 0, 1)
    _, weight, _ = attended(model, fields)
    pooled = (weight[..., None] * literal_products(model, fields)[1]).sum(1)
    by_hand = model.factors.bias + literal_products(model, fields)[0] + model.dropout(pooled) @ model.projection
    assert_close(model(fields), by_hand)
    for fast, slow in zip(gradients(model, model(fields)), gradients(model, by_hand), strict=True):
        assert_close(fast, slow)


def test_dropping_from_every_product_drops_before_both_uses(monkeypatch):
    monkeypatch.setattr("attlas.models.afm.PRODUCT_FLOATS", 200)  # a few rows in each chunk
    model, fields = one_of(dropout=0.5, dropout_place="pairs").train(), random_rows(SHAPE.fields, 40)
    model.dropout = Mask(1, 0, 1, 1, 0, 1)
    products = model.dropout(literal_products(model, fields)[1])
    weight = ((products @ model.key + model.bias).clamp(min=0) @ model.query).softmax(-1)
    attended_B = (weight * (products @ model.projection)).sum(-1)
    by_hand = model.factors.bias + literal_products(model, fields)[0] + attended_B
    assert_close(model(fields), by_hand)
    for fast, slow in zip(gradients(model, model(fields)), gradients(model, by_hand), strict=True):
        assert_close(fast, slow)


@pytest.mark.parametrize(("attention", "weight"), [("uniform", 1 / 6), ("none", 1.0)])
def test_equal_weights_too_have_every_product_dropped_from_where_that_is_the_place(attention, weight, monkeypatch):
    monkeypatch.setattr("attlas.models.afm.PRODUCT_FLOATS", 200)
    model, fields = one_of(attention=attention, dropout=0.5, dropout_place="pairs").train(), random_rows(SHAPE.fields, 40)
    seen = []
    model.dropout.register_forward_hook(lambda _, given, out: seen.append(tuple(given[0].shape)))
    model(fields)
    assert [sum(rows for rows, _ in seen), {dim for _, dim in seen}] == [40 * 6, {6}]  # six pairs a row, six dimensions
    model.dropout = Mask(1, 0, 1, 1, 0, 1)
    kept = model.dropout(literal_products(model, fields)[1]).sum(1)
    by_hand = model.factors.bias + literal_products(model, fields)[0] + weight * kept @ model.projection
    assert_close(model(fields), by_hand)


def test_dropping_from_weights_that_are_not_learned_is_refused():
    with pytest.raises(ConfigError, match="drops learned weights, and attention = 'uniform' has none; leave it out"):
        AFM.Config(attention="uniform", attention_dropout=0.3)


def test_a_bag_meets_other_features_as_the_mean_of_what_it_holds():
    model, fields = one_of(), with_bags(random_rows(SHAPE.fields, 12), [[12], [12, 13]], 14)
    assert_close(model(fields), literal(model, fields))


def test_with_all_weights_one_and_p_one_afm_is_fm():
    model = one_of(attention="none", projection="fixed")
    fm = FM(SHAPE, FM.Config(embedding_dim=6)).double().eval()
    fm.factors.load_state_dict(model.factors.state_dict())
    fields = random_rows(SHAPE.fields, 30, weighed=True)
    assert_close(model(fields), fm(fields), rtol=1e-12, atol=1e-12)


def test_the_degenerate_form_is_nfm_without_layers():
    model, nfm = one_of(attention="none"), NFM(SHAPE, NFM.Config(embedding_dim=6, layers=(), norm=False)).double().eval()
    torch.nn.init.normal_(model.projection)
    nfm.factors.load_state_dict(model.factors.state_dict())
    nfm.head.data.copy_(model.projection.data)
    fields = random_rows(SHAPE.fields, 30)
    assert_close(model(fields), nfm(fields))


def test_a_silent_query_weighs_all_pairs_alike():
    model, fields = one_of(), random_rows(SHAPE.fields, 30)
    uniform = one_of(attention="uniform")
    uniform.factors.load_state_dict(model.factors.state_dict())
    torch.nn.init.zeros_(model.query)
    assert_close(model(fields), uniform(fields))


def test_a_bias_on_the_logits_changes_nothing():
    model, fields = one_of(attention="free"), random_rows(SHAPE.fields, 30)
    before = model(fields)
    with torch.no_grad():
        model.free.add_(3.7)
    assert_close(model(fields), before)


def test_with_two_fields_the_one_pair_weighs_one_and_the_network_learns_nothing():
    torch.manual_seed(1)
    model: Any = AFM(Sizes(3, 4), AFM.Config(embedding_dim=2, attention_dim=2, dropout=0.0)).double()
    fields = random_rows((4, 5), 6)
    assert_close(model.weigh_pairs(fields)[0], torch.ones(6, 1, dtype=torch.float64))
    model(fields).sum().backward()
    assert not model.key.grad.any()


def test_free_attention_reads_a_logit_of_its_own_for_each_pair_of_features():
    model, fields = one_of(attention="free"), random_rows(SHAPE.fields, 30)
    first = [0, 4, 7, 12]
    tables, start = {}, 0
    for i in range(4):
        for j in range(i + 1, 4):
            cells = SHAPE.fields[i] * SHAPE.fields[j]
            tables[i, j] = model.free[start : start + cells].view(SHAPE.fields[i], -1)
            start += cells
    inside = fields.index - torch.tensor(first)
    logit = torch.stack([table[inside[:, i], inside[:, j]] for (i, j), table in tables.items()], dim=1)
    weight, score = model.weigh_pairs(fields)
    assert_close(weight, logit.softmax(-1))
    assert_close(score, literal_products(model, fields)[1] @ model.projection)


def test_free_attention_refuses_fields_that_hold_several():
    model, fields = one_of(attention="free"), with_bags(random_rows(SHAPE.fields, 12), [[12], [12, 13]], 14)
    with pytest.raises(ConfigError, match="a logit for each pair of categories; a field here holds several"):
        model(fields)


@pytest.mark.parametrize("attention", ["network", "free", "uniform", "none"])
@pytest.mark.parametrize("places", [((0, 2, 3), (1,)), ((3, 1), (0, 2)), ((2,), (0, 1, 3))])
def test_a_catalogue_in_context_is_scored_as_its_rows_are(places, attention):
    model, fields = one_of(attention=attention), random_rows(SHAPE.fields, 11)
    halves = [fields.index[:, list(half)] for half in places]
    half = Crossed(Fields(halves[0][:2]), Fields(halves[1]), *places)
    expected = torch.stack([model(half.rows(asker)) for asker in range(2)])
    assert_close(model.score_catalogue(half), expected)


@pytest.mark.parametrize("attention", ["network", "free", "uniform", "none"])
def test_the_contributions_and_the_linear_part_add_up_to_the_score(attention):
    model, fields = one_of(attention=attention), random_rows(SHAPE.fields, 8)
    weight, score = model.weigh_pairs(fields)
    assert_close(model.factors.bias + model.factors(fields).linear() + (weight * score).sum(-1), model(fields))


@pytest.mark.parametrize("norm", [False, True])
def test_a_start_that_preserves_has_the_function_of_its_fm(norm):
    torch.manual_seed(2)
    fm: Any = FM(SHAPE, FM.Config(embedding_dim=6, stddev=1.0, norm=norm)).double()
    fields = random_rows(SHAPE.fields, 30)
    if norm:
        torch.nn.init.normal_(fm.norm.scale)
        fm.train()(fields)
    model = one_of(pretraining="preserve")
    model.fuse(fm.eval())
    assert_close(model(fields), fm(fields))


def test_a_start_by_copying_takes_the_tables_alone():
    fm: Any = FM(SHAPE, FM.Config(embedding_dim=6)).double()
    model = one_of()
    before = model.query.clone(), model.projection.clone()
    model.fuse(fm)
    assert torch.equal(model.factors.vector, fm.factors.vector)
    assert torch.equal(model.query, before[0])
    assert torch.equal(model.projection, before[1])


def test_a_start_of_another_size_is_refused():
    with pytest.raises(ConfigError, match="embedding_dim = 6 and 14 features; got FM, 14 features of 5"):
        one_of().fuse(FM(SHAPE, FM.Config(embedding_dim=5)))
    with pytest.raises(ConfigError, match=r"and 14 features; got Mask$"):
        one_of().fuse(Mask())


def test_the_largest_tensor_of_a_step_grows_with_the_chunk_and_not_with_the_pairs(monkeypatch):
    """No tensor of rows times pairs times columns is built, not even of the distinct pairs, with or without dropout."""
    monkeypatch.setattr(field_ops, "CHUNK_FLOATS", 1000)
    sizes = (50,) * 8
    fields = random_rows(sizes, 64)
    for dropout in (0.0, 0.5):
        model: Any = AFM(Sizes(1, 1, sizes), AFM.Config(embedding_dim=32, attention_dim=8, dropout=dropout)).train()
        largest = Largest()
        with largest:
            model(fields).sum().backward()
        assert largest.found <= 450 * 32  # the table itself
        assert 64 * 28 * 32 > 3 * 450 * 32


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that any operation gives."""

    def __init__(self):
        super().__init__()
        self.found = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, Tensor):
                self.found = max(self.found, one.numel())
        return out
