"""DeepCF's worked example by hand: three users, four items, rows of the matrix [1,1,0,1], [0,1,1,0], [1,0,1,1], all sizes 2."""

import numpy as np
import pytest
import torch
from torch import tensor

from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError
from attlas.models.deepcf import CFNet, CFNetML, CFNetRL, read_rows
from attlas.training.objectives import Batch, Pointwise
from tests.models.test_delf import DIGITS, fill
from tests.toy import chosen_by

NAMES = ("user_history", "item_history")
LISTS = [[0, 1, 3], [1, 2], [0, 2, 3]]
INPUTS, SIZES = Inputs(chosen_by(LISTS, 4)), Sizes(3, 4)
SMALL = {"rl_user_dim": 2, "rl_item_dim": 2, "rl_layers": (2,), "ml_dim": 2, "ml_layers": (2,)}
RL, ML = (2, 2, (2,)), (2, (2,))  # what the parts have of it, in order

EXAMPLE_WEIGHTS = {
    "user_tower.row.table.weight": fill(2, 4, 2),
    "user_tower.row.bias": fill(3, 2),
    "item_tower.row.table.weight": fill(4, 3, 2),
    "item_tower.row.bias": fill(5, 2),
    "user_tower.layers.0.weight": fill(6, 2, 2).T,
    "user_tower.layers.0.bias": fill(7, 2),
    "item_tower.layers.0.weight": fill(8, 2, 2).T,
    "item_tower.layers.0.bias": fill(9, 2),
    "user_row.table.weight": fill(10, 4, 2),
    "user_row.bias": fill(11, 2),
    "item_row.table.weight": fill(12, 3, 2),
    "item_row.bias": fill(13, 2),
    "tower.user_weight": fill(14, 4, 2)[:2].T,
    "tower.item_weight": fill(14, 4, 2)[2:].T,
    "tower.bias": fill(15, 2),
    "prediction.weight": fill(16, 4)[None],
    "prediction.bias": tensor([0.1]),
}


def untrained(**settings) -> CFNet:
    torch.manual_seed(1)
    return CFNet(SIZES, CFNet.Config(**SMALL | settings)).double()


def worked_example() -> CFNet:
    """The example multiplies y @ W, where a linear layer stores the transpose of W; its linear layers have biases."""
    model = untrained(row_bias=True)
    model.load_state_dict(EXAMPLE_WEIGHTS)
    return model


def gathered(user, item, leave_out: str = "remove") -> dict:
    return INPUTS.gather(NAMES, np.atleast_1d(user), np.atleast_1d(item), leave_out=leave_out)


EXAMPLE = {
    "pair (0, 1), removed": {
        "pair": (0, 1, "remove"),
        "linear": [-0.6, 2.0, 0.0, -0.6],
        "towers": [0.0, 1.68, 0.04, 1.36],
        "product": [0.0, 2.2848],
        "ml linear": [0.2, -1.6, -0.2, 1.4],
        "tower": [0.0, 0.52],
        "logit": -0.958880,
        "probability": 0.277102,
    },
    "pair (0, 1), not removed": {
        "pair": (0, 1, "keep"),
        "linear": [-0.2, 1.2, 0.6, -1.2],
        "towers": [0.0, 1.12, 0.0, 2.32],
        "product": [0.0, 2.5984],
        "ml linear": [-0.6, -1.4, -0.8, 1.8],
        "tower": [0.0, 1.44],
        "logit": -0.595040,
        "probability": 0.355479,
    },
    "pair (0, 2)": {
        "pair": (0, 2, "remove"),
        "linear": [-0.2, 1.2, -0.4, 0.0],
        "towers": [0.0, 1.12, 0.4, 0.6],
        "product": [0.0, 0.672],
        "ml linear": [-0.6, -1.4, 0.4, 0.8],
        "tower": [0.0, 0.88],
        "logit": 0.224800,
        "probability": 0.555965,
    },
    "pair (2, 1)": {
        "pair": (2, 1, "remove"),
        "linear": [0.4, 1.8, 0.6, -1.2],
        "towers": [0.0, 1.72, 0.0, 2.32],
        "product": [0.0, 3.9904],
        "ml linear": [0.0, -0.8, -0.8, 1.8],
        "tower": [0.24, 0.60],
        "logit": -1.934240,
        "probability": 0.126282,
    },
}
rows = pytest.mark.parametrize("row", EXAMPLE.values(), ids=EXAMPLE.keys())


@rows
def test_linear_layers_on_rows_are_those_of_the_worked_example(row):
    model, made, nothing = worked_example(), gathered(*row["pair"]), torch.eye(2).double()
    sides = ((model.user_tower.row, "user_history"), (model.item_tower.row, "item_history"))
    found = torch.cat([read_rows(made[name], (layer, nothing))[0][0] for layer, name in sides])
    assert found.tolist() == pytest.approx(row["linear"], abs=DIGITS)
    sides = ((model.user_row, "user_history"), (model.item_row, "item_history"))
    found = torch.cat([read_rows(made[name], (layer, nothing))[0][0] for layer, name in sides])
    assert found.tolist() == pytest.approx(row["ml linear"], abs=DIGITS)


@rows
def test_towers_and_their_product_are_those_of_the_worked_example(row):
    model, made = worked_example(), gathered(*row["pair"])
    towers = ((model.user_tower, "user_history"), (model.item_tower, "item_history"))
    user, item = (tower(*read_rows(made[name], tower.reading))[0] for tower, name in towers)
    assert [*user.tolist(), *item.tolist()] == pytest.approx(row["towers"], abs=DIGITS)
    assert (user * item).tolist() == pytest.approx(row["product"], abs=DIGITS)


@rows
def test_the_perceptron_says_what_it_says_in_the_worked_example(row):
    model, made = worked_example(), gathered(*row["pair"])
    codes = model.encode_user(made["user_history"]) + model.encode_item(made["item_history"])
    assert model.tower(codes[:, 2:].relu())[0].tolist() == pytest.approx(row["tower"], abs=DIGITS)


@rows
def test_the_logit_is_that_of_the_worked_example(row):
    logit = worked_example()(**gathered(*row["pair"]))
    assert logit.item() == pytest.approx(row["logit"], abs=DIGITS)
    assert logit.sigmoid().item() == pytest.approx(row["probability"], abs=DIGITS)


def test_the_loss_is_that_of_the_worked_example():
    def loss(item, label, leave_out="remove"):
        batch = Batch(gathered([0] * len(item), item, leave_out), tensor(label).double())
        return Pointwise().loss(worked_example(), batch).item()

    assert loss([1], [1.0], "keep") == pytest.approx(1.034288, abs=DIGITS)
    assert loss([1], [1.0]) == pytest.approx(1.283368, abs=DIGITS)
    assert loss([2], [0.0]) == pytest.approx(0.811851, abs=DIGITS)
    assert loss([1, 2], [1.0, 0.0], "keep") == pytest.approx(0.923070, abs=DIGITS)
    assert loss([1, 2], [1.0, 0.0]) == pytest.approx(1.047609, abs=DIGITS)


def parts_of() -> tuple[CFNetRL, CFNetML]:
    torch.manual_seed(2)
    return CFNetRL(SIZES, CFNetRL.Config(*RL)).double(), CFNetML(SIZES, CFNetML.Config(*ML)).double()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_what_was_fused_weighs_the_logits_of_its_parts(alpha):
    rl, ml = parts_of()
    rl.prediction.bias.data.fill_(0.3)
    model, made = untrained(alpha=alpha), gathered([0, 0, 2], [1, 2, 1])
    model.fuse(rl, ml)
    torch.testing.assert_close(model(**made), alpha * rl(**made) + (1 - alpha) * ml(**made))


def test_parts_of_another_kind_or_size_are_refused():
    rl, ml = parts_of()
    with pytest.raises(ConfigError, match="CFNet starts from CFNetRL and CFNetML, in this order; got CFNetML and CFNetRL"):
        untrained().fuse(ml, rl)
    with pytest.raises(ConfigError, match="give all three the same settings and data"):
        untrained(ml_layers=(3,)).fuse(rl, ml)


@pytest.mark.parametrize("silent", ["rl", "ml"])
def test_a_branch_without_output_weight_leaves_the_other(silent):
    rl, ml = parts_of()
    model, made = untrained(), gathered([0, 0, 2], [1, 2, 1])
    model.fuse(rl, ml)
    model.prediction.weight.data[:, :2] *= silent != "rl"
    model.prediction.weight.data[:, 2:] *= silent != "ml"
    kept = ml if silent == "rl" else rl
    torch.testing.assert_close(model(**made), 0.5 * kept(**made))


def dense_rows(leave_out: str, user: np.ndarray, item: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Y[u, :] and Y[:, i] of each pair as the paper has them, without the pair's own cell unless it is kept."""
    matrix = np.zeros((3, 4))
    for u, items in enumerate(LISTS):
        matrix[u, items] = 1.0
    rows, columns = matrix[user], matrix[:, item].T.copy()
    if leave_out == "remove":
        rows[np.arange(len(user)), item] = columns[np.arange(len(user)), user] = 0.0
    return torch.from_numpy(rows), torch.from_numpy(columns)


def literal(model: CFNet, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """The paper's form: dense rows through whole layers, one after the other."""

    def read(layer, dense):
        return dense @ layer.table.weight + (0.0 if layer.bias is None else layer.bias)

    sides = []
    for tower, dense in ((model.user_tower, row), (model.item_tower, column)):
        hidden = read(tower.row, dense)
        for layer in tower.layers:
            hidden = layer(hidden).relu()
        sides.append(hidden)
    whole = torch.cat([model.tower.user_weight, model.tower.item_weight], dim=1)
    hidden = (torch.cat([read(model.user_row, row), read(model.item_row, column)], dim=-1) @ whole.T + model.tower.bias).relu()
    for layer in model.tower.rest:
        hidden = layer(hidden).relu()
    return model.prediction(torch.cat([sides[0] * sides[1], hidden], dim=-1)).squeeze(-1)


@pytest.mark.parametrize("leave_out", ["remove", "keep"])
@pytest.mark.parametrize("row_bias", [True, False])
def test_sums_over_histories_give_the_logits_and_gradients_of_dense_rows(row_bias, leave_out):
    sizes = {"rl_user_dim": 5, "rl_item_dim": 3, "rl_layers": (4, 3), "ml_dim": 6, "ml_layers": (5, 4)}
    model = untrained(row_bias=row_bias, **sizes)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.uniform_(weight)
    user, item = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
    found = model(**gathered(user, item, leave_out))
    expected = literal(model, *dense_rows(leave_out, user, item))
    torch.testing.assert_close(found, expected)
    mixture, weights = torch.linspace(-1, 2, 12).double(), list(model.parameters())
    gradients = [torch.autograd.grad((logit * mixture).sum(), weights) for logit in (found, expected)]
    assert all(gradient.abs().sum() > 0 for gradient in gradients[1])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", [CFNetRL, CFNetML])
def test_each_branch_alone_is_its_share_of_the_paper(kind):
    rl, ml = parts_of()
    model, user, item = untrained(alpha=1.0 if kind is CFNetRL else 0.0), np.array([0, 0, 2]), np.array([1, 2, 1])
    model.fuse(rl, ml)
    alone = rl if kind is CFNetRL else ml
    torch.testing.assert_close(alone(**gathered(user, item)), literal(model, *dense_rows("remove", user, item)))


def test_empty_histories_leave_only_what_the_biases_say():
    nothing = {"user_history": History.of([[]], 4), "item_history": History.of([[]], 3)}
    model = worked_example()
    zeros = torch.zeros(1, 4).double(), torch.zeros(1, 3).double()
    torch.testing.assert_close(model(**nothing), literal(model, *zeros))


def test_a_history_emptied_by_its_own_target_is_read_as_an_empty_one():
    model = untrained().float()
    alone = Inputs(chosen_by([[1], [], []], 4)).gather(NAMES, np.array([0]), np.array([1]), leave_out="remove")
    empty = {"user_history": History.of([[]], 4), "item_history": History.of([[]], 3)}
    assert model(**alone).tolist() == model(**empty).tolist()


def test_by_default_both_classes_lose_an_entry_in_training():
    batch = next(Pointwise(batch_size=100).batches(INPUTS, untrained().float(), np.random.default_rng(1)))
    assert (batch.inputs["user_history"].left_out >= 0).all()
    kept = next(Pointwise(batch_size=100).batches(INPUTS, untrained(leave_out="keep"), np.random.default_rng(1)))
    assert (kept.inputs["user_history"].left_out == -1).all()


def test_output_weights_start_with_the_variance_of_one_over_their_inputs():
    torch.manual_seed(1)
    weight = CFNetRL(SIZES, CFNetRL.Config(rl_layers=(900,))).prediction.weight
    assert weight.abs().max().item() <= 2 / 30
    assert weight.std().item() == pytest.approx(0.88 / 30, rel=0.1)  # what cutting at two deviations leaves of one
