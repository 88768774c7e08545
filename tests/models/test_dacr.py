"""DACR's worked example by hand: three users, four items, rows of the matrix [1,1,0,1], [0,1,1,0], [1,0,1,1], all sizes 2."""

import numpy as np
import pytest
import torch
from torch import nn, tensor
from torch.nn import functional

from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError
from attlas.models.dacr import AML, ARL, DACR
from attlas.models.protocol import asked_by
from attlas.scoring import Scorer
from attlas.training.objectives import Batch, Pointwise
from tests.toy import chosen_by

NAMES = ("user", "item", "user_history", "item_history")

LISTS = [[0, 1, 3], [1, 2], [0, 2, 3]]
INPUTS = Inputs(chosen_by(LISTS, 4))
DIGITS = 1e-6  # the example is written to six decimals


def fill(t: int, rows: int, columns: int | None = None) -> torch.Tensor:
    """(((3r + 5c + 2t) mod 11) - 5) / 5."""
    row, column = np.arange(rows)[:, None], np.arange(columns or 1)[None]
    table = ((3 * row + 5 * column + 2 * t) % 11 - 5) / 5
    return torch.from_numpy(table if columns else table[:, 0])


OF_ARL = {
    "branches.representation.encode_user.gate.weight": fill(11, 2, 2).T,
    "branches.representation.encode_user.gate.bias": fill(12, 2),
    "branches.representation.encode_item.gate.weight": fill(13, 2, 2).T,
    "branches.representation.encode_item.gate.bias": fill(14, 2),
    "branches.representation.encode_user.tower.first.weight": fill(15, 4, 2).T,
    "branches.representation.encode_user.tower.first.bias": fill(16, 2),
    "branches.representation.encode_item.tower.first.weight": fill(17, 4, 2).T,
    "branches.representation.encode_item.tower.first.bias": fill(18, 2),
}
OF_AML = {
    "branches.matching.gate.weight": fill(21, 4, 4).T,
    "branches.matching.gate.bias": fill(22, 4),
    "branches.matching.tower.first.weight": fill(23, 8, 2).T,
    "branches.matching.tower.first.bias": fill(24, 2),
}
SMALL = {"representation_dim": 2, "representation_layers": (2,), "matching_dim": 2, "matching_layers": (2,)}
OF = {DACR: tuple(SMALL), ARL: tuple(SMALL)[:2], AML: tuple(SMALL)[2:]}


def small(kind: type = DACR, **settings) -> nn.Module:
    """A model of the example's sizes."""
    return kind(Sizes(3, 4), kind.Config(**{name: SMALL[name] for name in OF[kind]}, **settings)).double()


def worked_example(**settings) -> DACR:
    """The example's numbers; it multiplies y @ W, where a linear layer stores the transpose of W, and has no output bias."""
    model = small(output_bias=False, **settings)
    encoders = {
        "user_encoder.entry.weight": torch.cat([fill(9, 4, 2), fill(19, 4, 2)], 1),
        "item_encoder.entry.weight": torch.cat([fill(10, 3, 2), fill(20, 3, 2)], 1),
    }
    model.load_state_dict({**encoders, **OF_ARL, **OF_AML, "prediction.weight": fill(25, 4)[None]})
    return model


def gathered(user: int, item: int, leave_out: str = "remove") -> dict:
    return INPUTS.gather(("user_history", "item_history"), np.array([user]), np.array([item]), leave_out=leave_out)


EXAMPLE = {
    "pair (0, 1), removed": {
        "pair": (0, 1, "remove"),
        "a0_u": [0.4, 0.2],
        "alpha_u": [0.231475, 0.768525],
        "p_u": [1.033705, 0],
        "q_i": [0.083705, 0.573616],
        "a_rl": [0.086527, 0],
        "x": [-0.4, 1.6, 1.0, -0.2],
        "alpha": [0.006032, 0.303994, 0.013424, 0.676551],
        "a_ml": [1.057230, 0.719731],
        "logit": -0.972425,
        "probability": 0.274397,
    },
    "pair (0, 1), kept": {
        "pair": (0, 1, "keep"),
        "a0_u": [1.4, 0],
        "alpha_u": [0.119203, 0.880797],
        "p_u": [1.773246, 0],
        "q_i": [0, 0.067939],
        "a_rl": [0, 0],
        "x": [0.2, 1.0, 1.4, -1.0],
        "alpha": [0.005484, 0.287693, 0.013222, 0.693600],
        "a_ml": [2.146789, 0.206840],
        "logit": -1.758799,
        "probability": 0.146941,
    },
    "pair (0, 2)": {
        "pair": (0, 2, "remove"),
        "a0_u": [1.4, 0],
        "alpha_u": [0.119203, 0.880797],
        "p_u": [1.773246, 0],
        "q_i": [0.035174, 1.432018],
        "a_rl": [0.062373, 0],
        "x": [0.2, 1.0, 0.4, 0.2],
        "alpha": [0.054114, 0.247421, 0.125348, 0.573118],
        "a_ml": [0, 1.001942],
        "logit": -0.187914,
        "probability": 0.453159,
    },
    "pair (1, 2)": {
        "pair": (1, 2, "remove"),
        "a0_u": [1.0, -0.2],
        "alpha_u": [0.197816, 0.802184],
        "p_u": [1.688786, 0],
        "q_i": [0, 0.843665],
        "a_rl": [0, 0],
        "x": [0.6, -0.6, -0.6, 0.4],
        "alpha": [0.192600, 0.031836, 0.665549, 0.110015],
        "a_ml": [0, 0.656971],
        "logit": -0.131394,
        "probability": 0.467199,
    },
    "pair (2, 1)": {
        "pair": (2, 1, "remove"),
        "a0_u": [-0.2, 0.6],
        "alpha_u": [0.268941, 0.731059],
        "p_u": [0.389242, 0],
        "q_i": [0, 0.067939],
        "a_rl": [0, 0],
        "x": [-1.4, 1.6, 1.4, -1.0],
        "alpha": [0.000388, 0.253118, 0.001143, 0.745351],
        "a_ml": [3.158776, 0.044975],
        "logit": -2.536016,
        "probability": 0.073372,
    },
}
rows = pytest.mark.parametrize("row", EXAMPLE.values(), ids=EXAMPLE.keys())


def digits(values: list[float]) -> object:
    return pytest.approx(values, abs=DIGITS)


@rows
def test_sums_are_those_of_the_worked_example(row):
    model, made = worked_example(), gathered(*row["pair"])
    user, item = model.user_encoder(made["user_history"])[0], model.item_encoder(made["item_history"])[0]
    assert user[:2].tolist() == digits(row["a0_u"])
    assert torch.cat([user[2:], item[2:]]).tolist() == digits(row["x"])


@rows
def test_the_representation_branch_is_that_of_the_worked_example(row):
    model, made = worked_example(), gathered(*row["pair"])
    sides = model.branches["representation"]
    user, item = model.user_encoder(made["user_history"])[:, :2], model.item_encoder(made["item_history"])[:, :2]
    (p,), (q,) = sides.encode_user(user)[0], sides.encode_item(item)[0]
    assert sides.encode_user.weights(user)[0].tolist() == digits(row["alpha_u"])
    assert (p.tolist(), q.tolist(), (p * q).tolist()) == (digits(row["p_u"]), digits(row["q_i"]), digits(row["a_rl"]))
    unit = torch.eye(2, dtype=torch.float64)
    assert [sides((p,), (q,), unit[k]).item() for k in range(2)] == digits(row["a_rl"])


@rows
def test_the_matching_branch_is_that_of_the_worked_example(row):
    model, made = worked_example(), gathered(*row["pair"])
    matching = model.branches["matching"]
    user = matching.encode_user(model.user_encoder(made["user_history"])[:, 2:])
    item = matching.encode_item(model.item_encoder(made["item_history"])[:, 2:])
    assert matching.weights(user[1] + item[1])[0].tolist() == digits(row["alpha"])
    assert matching.last_layer(user, item)[0].tolist() == digits(row["a_ml"])


@rows
def test_the_logit_is_that_of_the_worked_example(row):
    logit = worked_example()(**gathered(*row["pair"]))
    assert logit.item() == digits(row["logit"])
    assert logit.sigmoid().item() == digits(row["probability"])


@pytest.mark.parametrize(
    ("leave_out", "positive", "mean"), [("remove", 1.293178, 0.948388), ("keep", 1.917725, 1.260662)], ids=["remove", "keep"]
)
def test_the_loss_is_that_of_the_worked_example(leave_out, positive, mean):
    def loss(item, label):
        made = INPUTS.gather(asked_by(DACR), np.zeros(len(item), int), np.array(item), leave_out=leave_out)
        return Pointwise().loss(worked_example(), Batch(made, tensor(label, dtype=torch.float64))).item()

    assert loss([1], [1.0]) == digits(positive)
    assert loss([2], [0.0]) == digits(0.603598)
    assert loss([1, 2], [1.0, 0.0]) == digits(mean)


def literal(model: nn.Module, row_BI: torch.Tensor, column_BU: torch.Tensor) -> torch.Tensor:
    """The paper's equations on dense rows and columns of the matrix, whole layers on whole inputs."""
    config, branches = model.config, dict(model.branches)
    sums = []
    for encoder, row_BE in ((model.user_encoder, row_BI), (model.item_encoder, column_BU)):
        sum_BD = row_BE @ encoder.entry.weight
        if config.pooling == "sqrt":
            sum_BD = sum_BD / row_BE.sum(1, keepdim=True).clamp(min=1).sqrt()
        sums.append(sum_BD if encoder.bias is None else sum_BD + encoder.bias)
    last_layers = []
    first = getattr(config, "representation_dim", 0)
    if "representation" in branches:
        sides = branches["representation"].encode_user, branches["representation"].encode_item
        codes = [layers(side.tower, gated(side, sum_BD[:, :first])) for side, sum_BD in zip(sides, sums, strict=True)]
        last_layers.append(codes[0] * codes[1])
    if "matching" in branches:
        start = 0 if getattr(config, "share_sums", False) else first
        x_BH = torch.cat([sum_BD[:, start:] for sum_BD in sums], 1)
        last_layers.append(layers(branches["matching"].tower, gated(branches["matching"], x_BH)))
    return model.prediction(torch.cat(last_layers, 1)).squeeze(1)


def gated(part: nn.Module, x_BD: torch.Tensor) -> torch.Tensor:
    """[x; alpha x]"""
    alpha = torch.softmax(x_BD @ part.gate.weight.T + part.gate.bias, 1)
    return torch.cat([x_BD, part.scale * alpha * x_BD], 1)


def layers(tower: nn.Module, x_BD: torch.Tensor) -> torch.Tensor:
    for layer, norm in zip([tower.first, *tower.rest], tower.norms, strict=True):
        x_BD = torch.relu(norm(x_BD @ layer.weight.T + layer.bias))
    return x_BD


OPTIONS = {
    "defaults": {},
    "all else": {"pooling": "sqrt", "encoder_bias": True, "scale_gate": True, "layer_norm": True, "output_bias": False},
}
CHOSEN = chosen_by([[0, 1, 3, 4], [1, 2], [], [5], [0, 2, 3, 5, 6]], 8)


def random_model(kind: type, **settings) -> nn.Module:
    """Of a few sizes, no two alike, and large enough numbers that gates and ReLUs differ."""
    torch.manual_seed(1)
    sizes = {"representation_dim": 5, "representation_layers": (7, 3), "matching_dim": 4, "matching_layers": (6, 5)}
    if settings.get("share_sums"):
        sizes["matching_dim"] = 5
    config = kind.Config(**{name: size for name, size in sizes.items() if name in OF[kind]}, stddev=0.7, **settings)
    model = kind(Sizes(5, 8), config).double()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return model


KINDS = pytest.mark.parametrize("kind", [DACR, ARL, AML])
EVERY_OPTION = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def all_pairs() -> tuple[np.ndarray, np.ndarray, torch.Tensor, torch.Tensor]:
    """Every pair, and its row and column of the matrix without the pair's own cell."""
    user, item = (places.ravel() for places in np.meshgrid(np.arange(5), np.arange(8), indexing="ij"))
    matrix = torch.from_numpy(CHOSEN.by_user.toarray()).double()
    row_BI, column_BU, pair = matrix[user].clone(), matrix.T[item].clone(), np.arange(40)
    row_BI[pair, item], column_BU[pair, user] = 0.0, 0.0
    return user, item, row_BI, column_BU


@KINDS
@EVERY_OPTION
def test_scores_and_gradients_are_those_of_dense_rows_and_whole_layers(kind, options):
    model = random_model(kind, **options)
    user, item, row_BI, column_BU = all_pairs()
    logit, expected = model(**Inputs(CHOSEN).gather(asked_by(kind), user, item)), literal(model, row_BI, column_BU)
    torch.testing.assert_close(logit, expected, rtol=0, atol=1e-12)
    weight = torch.linspace(-1, 2, 40, dtype=torch.float64)
    found, wanted = (torch.autograd.grad((out * weight).sum(), list(model.parameters())) for out in (logit, expected))
    for (name, _), ours, theirs in zip(model.named_parameters(), found, wanted, strict=True):
        assert theirs.abs().max() > 0, f"{name} moves nothing"
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_branches_that_share_sums_read_the_same_ones():
    model = random_model(DACR, share_sums=True)
    assert model.user_encoder.entry.weight.shape == (8, 5)
    user, item, row_BI, column_BU = all_pairs()
    logit = model(**Inputs(CHOSEN).gather(asked_by(DACR), user, item))
    torch.testing.assert_close(logit, literal(model, row_BI, column_BU), rtol=0, atol=1e-12)


def test_branches_that_share_sums_of_two_sizes_are_refused():
    with pytest.raises(ConfigError, match="with share_sums both branches read sums of one size; got 5 and 4"):
        DACR(Sizes(2, 3), DACR.Config(representation_dim=5, matching_dim=4, share_sums=True))


@KINDS
def test_a_catalogue_scored_from_codes_is_the_literal_one(kind):
    model = random_model(kind).eval()
    matrix = torch.from_numpy(CHOSEN.by_user.toarray()).double()
    user, item = (places.ravel() for places in torch.meshgrid(torch.arange(5), torch.arange(8), indexing="ij"))
    expected = literal(model, matrix[user], matrix.T[item]).view(5, 8)
    found = Scorer(model, Inputs(CHOSEN)).score_all(np.arange(5))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-6, atol=1e-6)


def test_gates_of_sides_that_disagree_entirely_are_ranked_as_they_score():
    model = random_model(AML).eval()
    with torch.no_grad():
        model.branches["matching"].gate.weight.mul_(300)
    user, item = (places.ravel() for places in torch.meshgrid(torch.arange(5), torch.arange(8), indexing="ij"))
    matrix = torch.from_numpy(CHOSEN.by_user.toarray()).double()
    expected = literal(model, matrix[user], matrix.T[item]).view(5, 8)
    found = Scorer(model, Inputs(CHOSEN)).score_all(np.arange(5))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-6, atol=1e-6)


def test_a_gate_with_equal_logits_weighs_every_dimension_alike_and_scaled_by_one():
    for scale_gate, weight in ((False, 0.5), (True, 1.0)):
        side = worked_example(scale_gate=scale_gate).branches["representation"].encode_user
        nn.init.zeros_(side.gate.weight)
        nn.init.ones_(side.gate.bias)
        assert side.weights(tensor([[3.0, -1.0]], dtype=torch.float64)).tolist() == [[weight, weight]]


def test_without_the_rows_that_read_the_gates_it_is_the_plain_product_and_the_plain_perceptron():
    model = worked_example()
    tower = model.branches["matching"].tower.first
    with torch.no_grad():
        tower.weight[:, 4:] = 0.0
        for side in (model.branches["representation"].encode_user, model.branches["representation"].encode_item):
            side.tower.first.weight[:, 2:] = 0.0
    made = gathered(0, 1)
    user, item = model.user_encoder(made["user_history"])[0], model.item_encoder(made["item_history"])[0]
    p = (user[:2] @ fill(15, 4, 2)[:2] + fill(16, 2)).relu()
    q = (item[:2] @ fill(17, 4, 2)[:2] + fill(18, 2)).relu()
    z = (torch.cat([user[2:], item[2:]]) @ fill(23, 8, 2)[:4] + fill(24, 2)).relu()
    assert (p * q).abs().max() > 0
    assert model(**made).item() == pytest.approx((torch.cat([p * q, z]) @ fill(25, 4)).item(), abs=1e-12)


@pytest.mark.parametrize(("kind", "columns"), [(ARL, slice(0, 2)), (AML, slice(2, 4))], ids=["arl", "aml"])
def test_dacr_whose_output_reads_one_branch_alone_is_that_branch(kind, columns):
    whole, branch = worked_example(), small(kind, output_bias=False)
    part = {"user_encoder.entry.weight", "item_encoder.entry.weight", "prediction.weight"}
    state = whole.state_dict()
    branch.load_state_dict({name: state[name][:, columns] if name in part else state[name] for name in branch.state_dict()})
    with torch.no_grad():
        others = torch.ones(4, dtype=torch.bool)
        others[columns] = False
        whole.prediction.weight[:, others] = 0.0
    for row in EXAMPLE.values():
        made = gathered(*row["pair"])
        assert branch(**made).item() == pytest.approx(whole(**made).item(), abs=1e-12)


@pytest.mark.parametrize("output_bias", [True, False])
def test_fused_branches_say_the_mean_of_what_each_said(output_bias):
    arl, aml, fused = (random_model(kind, output_bias=output_bias, encoder_bias=True) for kind in (ARL, AML, DACR))
    fused.fuse(arl, aml)
    user, item, *_ = all_pairs()
    made = Inputs(CHOSEN).gather(asked_by(DACR), user, item)
    torch.testing.assert_close(fused(**made), (arl(**made) + aml(**made)) / 2, rtol=0, atol=1e-12)


def test_fusing_copies_and_leaves_the_branches_as_they_were():
    arl, aml, fused = (random_model(kind) for kind in (ARL, AML, DACR))
    before = [parameter.clone() for model in (arl, aml) for parameter in model.parameters()]
    fused.fuse(arl, aml)
    with torch.no_grad():
        for parameter in fused.parameters():
            parameter.add_(1.0)
    after = [parameter for model in (arl, aml) for parameter in model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("arl", "aml", "complaint"),
    [
        ({"scale_gate": True}, {"pooling": "sqrt"}, "DACR, ARL and AML differ in pooling, scale_gate; set them alike"),
        ({"representation_dim": 3}, {}, "ARL and AML are of other sizes than DACR; give all three the same settings"),
    ],
    ids=["settings", "sizes"],
)
def test_branches_that_were_not_set_as_the_whole_are_not_fused(arl, aml, complaint):
    parts = [
        kind(Sizes(3, 4), kind.Config(**{name: SMALL[name] for name in OF[kind]} | ours))
        for kind, ours in ((ARL, arl), (AML, aml))
    ]
    with pytest.raises(ConfigError, match=complaint):
        small().fuse(*parts)


def test_branches_with_sums_of_their_own_do_not_fuse_into_shared_ones():
    with pytest.raises(ConfigError, match="a DACR that shares sums has one table where ARL and AML have two"):
        small(share_sums=True).fuse(small(ARL), small(AML))


def test_what_fuses_is_an_arl_and_an_aml():
    with pytest.raises(ConfigError, match=r"DACR starts from ARL and AML, in this order; got \['AML', 'ARL'\]"):
        small().fuse(small(AML), small(ARL))


def test_without_histories_the_towers_see_their_biases_and_the_score_is_finite():
    nothing = {"user_history": History.of([[]], 4), "item_history": History.of([[]], 3)}
    model = worked_example()
    assert model.user_encoder(nothing["user_history"]).tolist() == [[0.0] * 4]
    z = functional.relu(fill(24, 2))
    product = functional.relu(fill(16, 2)) * functional.relu(fill(18, 2))
    assert model(**nothing).item() == pytest.approx((torch.cat([product, z]) @ fill(25, 4)).item(), abs=1e-12)


def test_dropout_is_for_training_only():
    torch.manual_seed(1)
    model, made = small(dropout=0.5, stddev=1.0), gathered(0, 1)
    model.train()
    assert len({model(**made).item() for _ in range(20)}) > 1
    model.eval()
    assert len({model(**made).item() for _ in range(20)}) == 1


def test_batches_leave_an_entry_out_of_every_history_unless_told_otherwise():
    def left_out(way):
        rng = np.random.default_rng(1)
        return next(Pointwise(batch_size=100).batches(INPUTS, small(leave_out=way), rng))

    matched, removed, kept = left_out("matched"), left_out("remove"), left_out("keep")
    for name in NAMES[2:]:
        assert (matched.inputs[name].left_out >= 0).all()
        assert (removed.inputs[name].left_out >= 0).tolist() == removed.label.bool().tolist()
        assert (kept.inputs[name].left_out == -1).all()
    assert DACR.Config().leave_out == ARL.Config().leave_out == AML.Config().leave_out == "matched"


@KINDS
def test_predicted_memory_is_five_times_every_weight_but_biases_and_output(kind):
    model = random_model(kind)
    weights = sum(parameter.numel() for name, parameter in model.named_parameters() if parameter.dim() == 2)
    floats = weights - model.prediction.weight.numel()
    assert sum(kind.memory(Sizes(5, 8), model.config).values()) == 5 * 4 * floats
