"""NCF's worked example by hand: three users, four items, all sizes 2 but for a hidden layer of 4."""

import copy

import numpy as np
import pytest
import torch
from torch import nn, tensor

from attlas.data.inputs import Sizes
from attlas.errors import ConfigError
from attlas.models.neumf import GMF, MLP, NeuMF
from attlas.training.objectives import Batch, Pointwise
from tests.models.test_delf import DIGITS, fill

SIZES = Sizes(3, 4)
USER, ITEM = tensor([0, 0, 2]), tensor([1, 2, 1])


def trained_gmf(**settings) -> GMF:
    model = GMF(SIZES, GMF.Config(gmf_dim=2, **settings)).double()
    ends = {"prediction.weight": fill(15, 2)[None], "prediction.bias": tensor([0.2])}
    model.load_state_dict({"gmf_user.weight": fill(7, 3, 2), "gmf_item.weight": fill(8, 4, 2)} | ends)
    return model


def trained_mlp() -> MLP:
    """The example multiplies y @ W, where a linear layer stores the transpose of W."""
    model = MLP(SIZES, MLP.Config(mlp_dim=2, layers=(4, 2))).double()
    tower = {
        "tower.user_weight": fill(11, 4, 4)[:2].T,
        "tower.item_weight": fill(11, 4, 4)[2:].T,
        "tower.bias": fill(12, 4),
        "tower.rest.0.weight": fill(13, 4, 2).T,
        "tower.rest.0.bias": fill(14, 2),
    }
    ends = {"prediction.weight": fill(16, 2)[None], "prediction.bias": tensor([-0.4])}
    model.load_state_dict({"mlp_user.weight": fill(9, 3, 2), "mlp_item.weight": fill(10, 4, 2)} | tower | ends)
    return model


def untrained(**settings) -> NeuMF:
    torch.manual_seed(1)
    return NeuMF(SIZES, NeuMF.Config(**{"gmf_dim": 2, "mlp_dim": 2, "layers": (4, 2)} | settings)).double()


def worked_example(alpha: float = 0.5) -> NeuMF:
    model = untrained(alpha=alpha)
    model.fuse(trained_gmf(), trained_mlp())
    return model


def verdict(model: MLP) -> torch.Tensor:
    """What the tower says of the three pairs."""
    return model.tower((model.encode_user(USER) + model.encode_item(ITEM)).relu())


def test_products_are_those_of_the_worked_example():
    model = trained_gmf()
    products = model.encode_user(USER) * model.encode_item(ITEM)
    assert products.flatten().tolist() == pytest.approx([-0.24, -0.36, 0.40, 0, 0.48, 0.24], abs=DIGITS)


def test_the_tower_says_what_it_says_in_the_worked_example():
    assert verdict(trained_mlp()).flatten().tolist() == pytest.approx([1.896, 0.288, 2.16, 0.408, 0.584, 0.032], abs=DIGITS)


def test_logits_of_both_parts_are_those_of_the_worked_example():
    assert trained_gmf()(USER, ITEM).tolist() == pytest.approx([0.416, 0.44, 0.248], abs=DIGITS)
    assert trained_mlp()(USER, ITEM).tolist() == pytest.approx([1.3232, 1.5152, 0.1648], abs=DIGITS)


def test_logits_of_the_whole_are_those_of_the_worked_example():
    logit = worked_example()(USER, ITEM)
    assert logit.tolist() == pytest.approx([0.8696, 0.9776, 0.2064], abs=DIGITS)
    assert logit.sigmoid().tolist() == pytest.approx([0.704662, 0.726632, 0.551418], abs=DIGITS)
    assert worked_example(alpha=0.3)(USER, ITEM)[0].item() == pytest.approx(1.05104, abs=DIGITS)


def test_the_loss_is_that_of_the_worked_example():
    model = worked_example()

    def loss(rows, label):
        return Pointwise().loss(model, Batch({"user": USER[rows], "item": ITEM[rows]}, tensor(label).double())).item()

    assert loss([0], [1.0]) == pytest.approx(0.350036, abs=DIGITS)
    assert loss([1], [0.0]) == pytest.approx(1.296935, abs=DIGITS)
    assert loss([0, 1], [1.0, 0.0]) == pytest.approx(0.823486, abs=DIGITS)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_what_was_fused_weighs_the_logits_of_its_parts(alpha):
    gmf, mlp = trained_gmf(), trained_mlp()
    expected = alpha * gmf(USER, ITEM) + (1 - alpha) * mlp(USER, ITEM)
    torch.testing.assert_close(worked_example(alpha)(USER, ITEM), expected)


def test_what_was_fused_shares_no_weight_with_its_parts():
    model, gmf, mlp = untrained(), trained_gmf(), trained_mlp()
    before = copy.deepcopy(gmf.state_dict())
    model.fuse(gmf, mlp)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert all(torch.equal(gmf.state_dict()[name], weight) for name, weight in before.items())
    assert mlp.mlp_user.weight.any()


def test_parts_in_another_order_or_of_another_kind_are_refused():
    with pytest.raises(ConfigError, match="NeuMF starts from GMF and MLP, in this order; got MLP and GMF"):
        untrained().fuse(trained_mlp(), trained_gmf())
    with pytest.raises(ConfigError, match="in this order; got GMF"):
        untrained().fuse(trained_gmf())


@pytest.mark.parametrize("settings", [{"gmf_dim": 3}, {"layers": (4, 3)}, {"layers": (4, 2, 2)}, {"bias": False}])
def test_parts_of_other_sizes_are_refused(settings):
    with pytest.raises(ConfigError, match="give all three the same settings and data"):
        untrained(**settings).fuse(trained_gmf(), trained_mlp())


def test_with_weights_of_one_gmf_is_matrix_factorisation():
    model = trained_gmf()
    nn.init.ones_(model.prediction.weight)
    nn.init.zeros_(model.prediction.bias)
    dot = (fill(7, 3, 2)[USER] * fill(8, 4, 2)[ITEM]).sum(-1)
    assert model(USER, ITEM).tolist() == pytest.approx(dot.tolist())


@pytest.mark.parametrize("silent", ["gmf", "mlp"])
def test_a_branch_without_output_weight_leaves_the_other(silent):
    model, half = worked_example(), 0.5
    kept, place = (trained_mlp(), slice(0, 2)) if silent == "gmf" else (trained_gmf(), slice(2, 4))
    model.prediction.weight.data[:, place] = 0.0
    other_bias = (0.2 if silent == "gmf" else -0.4) * half
    torch.testing.assert_close(model(USER, ITEM), half * kept(USER, ITEM) + other_bias)


def test_a_tower_that_never_bends_ranks_all_items_alike_for_everybody():
    model = trained_mlp()
    for bias in (model.tower.bias, model.tower.rest[0].bias):
        bias.data += 100.0
    user, item = torch.cartesian_prod(torch.arange(3), torch.arange(4)).T
    score = model(user, item).view(3, 4)
    torch.testing.assert_close(score - score[:, :1], (score - score[:, :1])[:1].expand(3, 4))
    assert score[0].std() > 0.1


def literal(model: NeuMF) -> torch.Tensor:
    """The paper's form: both vectors of the perceptron side by side through whole layers, verdicts side by side."""
    vectors = torch.cat([model.mlp_user(USER), model.mlp_item(ITEM)], dim=-1)
    whole = torch.cat([model.tower.user_weight, model.tower.item_weight], dim=1)
    hidden = (vectors @ whole.T + model.tower.bias).relu()
    for layer in model.tower.rest:
        hidden = layer(hidden).relu()
    return model.prediction(torch.cat([model.gmf_user(USER) * model.gmf_item(ITEM), hidden], dim=-1)).squeeze(-1)


def test_the_split_first_layer_gives_the_papers_logits_and_gradients():
    model = untrained(gmf_dim=3, mlp_dim=5, layers=(6, 4, 2), stddev=1.0)
    weights, mixture = list(model.parameters()), tensor([1.0, -2.0, 0.5]).double()
    found, expected = model(USER, ITEM), literal(model)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((logit * mixture).sum(), weights) for logit in (found, expected)]
    assert all(gradient.abs().sum() > 0 for gradient in gradients[1])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("bias", [True, False])
def test_gmf_scores_the_catalogue_as_pair_by_pair(bias):
    torch.manual_seed(1)
    model = GMF(SIZES, GMF.Config(gmf_dim=3, bias=bias, stddev=1.0))
    user, item = torch.cartesian_prod(torch.arange(3), torch.arange(4)).T
    torch.testing.assert_close(model.score_catalogue(torch.arange(3)), model(user, item).view(3, 4))


def test_dense_weights_start_as_in_the_code_or_as_in_the_text():
    sizes, shape = Sizes(50, 50), {"gmf_dim": 100, "mlp_dim": 100, "layers": (200, 100)}
    torch.manual_seed(1)
    coded, told = (NeuMF(sizes, NeuMF.Config(**shape, dense_start=start)) for start in ("glorot", "normal"))
    first, output = coded.tower.user_weight, coded.prediction.weight
    assert first.abs().max().item() == pytest.approx((6 / 400) ** 0.5, rel=0.01)  # 200 inputs with the item's half, 200 outputs
    assert output.abs().max().item() == pytest.approx((3 / 200) ** 0.5, rel=0.05)
    for weight in (told.tower.user_weight, told.tower.item_weight, told.tower.rest[0].weight, told.prediction.weight):
        assert weight.std().item() == pytest.approx(0.01, rel=0.2)
    for model in (coded, told):
        assert model.mlp_item.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not np.any([tower_bias.any() for tower_bias in (model.tower.bias, model.prediction.bias)])


def test_without_a_bias_the_output_has_none():
    assert "prediction.bias" not in untrained(bias=False).state_dict()
    assert untrained(bias=False)(USER, ITEM).isfinite().all()
