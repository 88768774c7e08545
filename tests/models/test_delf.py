"""DELF's worked example by hand: three users, four items, rows of the matrix [1,1,0,1], [0,1,1,0], [1,0,1,1], all sizes 2."""

import numpy as np
import pytest
import torch
from torch import tensor

from attlas.data.inputs import History, Inputs, Sizes
from attlas.models.delf import DELF
from attlas.training.objectives import Batch, Pointwise
from tests.toy import chosen_by

NAMES = ("user", "item", "user_history", "item_history")

INPUTS = Inputs(chosen_by([[0, 1, 3], [1, 2], [0, 2, 3]], 4))
DIGITS = 1e-6  # the example is written to six decimals


def fill(t: int, rows: int, columns: int | None = None) -> torch.Tensor:
    """(((3r + 5c + 2t) mod 11) - 5) / 5."""
    row, column = np.arange(rows)[:, None], np.arange(columns or 1)[None]
    table = ((3 * row + 5 * column + 2 * t) % 11 - 5) / 5
    return torch.from_numpy(table if columns else table[:, 0])


def worked_example(**settings) -> DELF:
    """The example's numbers; it multiplies y @ W, where a linear layer stores the transpose of W.

    Parts that the example does not have come from fill(20).
    """
    model = DELF(Sizes(3, 4), DELF.Config(embedding_dim=2, attention_dim=2, layers=(2,), **settings)).double()
    own = model.state_dict()
    weights = {name: fill(20, *tensor.shape) for name, tensor in own.items()} | {
        "history_item.weight": fill(1, 4, 2),
        "history_user.weight": fill(2, 3, 2),
        "user_embedding.weight": fill(3, 3, 2),
        "item_embedding.weight": fill(4, 4, 2),
        "user_attention.key.weight": fill(5, 2, 2).T,
        "user_attention.key.bias": fill(6, 2),
        "user_attention.query": fill(7, 2),
        "item_attention.key.weight": fill(8, 2, 2).T,
        "item_attention.key.bias": fill(9, 2),
        "item_attention.query": fill(10, 2),
        "prediction.weight": fill(19, 8)[None],
        "prediction.bias": tensor([0.1]),
    }
    for k in range(4):
        weights |= {
            f"towers.{k}.user_weight": fill(11 + k, 4, 2)[:2].T,
            f"towers.{k}.item_weight": fill(11 + k, 4, 2)[2:].T,
            f"towers.{k}.bias": fill(15 + k, 2),
        }
    model.load_state_dict(
        {
            name: weight if weight.shape == own[name].shape else fill(20, *own[name].shape)
            for name, weight in weights.items()
            if name in own
        }
    )
    return model


def gathered(user: int, item: int, leave_out: str = "remove") -> dict:
    return INPUTS.gather(NAMES, np.array([user]), np.array([item]), leave_out=leave_out)


def summaries(model: DELF, made: dict) -> list[float]:
    """m_u and n_i of one pair, one after the other."""
    user, item = made["user_history"], made["item_history"]
    m = model.user_attention(model.history_item(user.distinct), user)
    n = model.item_attention(model.history_user(item.distinct), item)
    return torch.cat([m[0], n[0]]).tolist()


def verdicts(model: DELF, made: dict) -> list[list[float]]:
    """z_1 to z_4 of one pair."""
    codes = model.encode_user(made["user"], made["user_history"]), model.encode_item(made["item"], made["item_history"])
    first_layers = (codes[0] + codes[1]).relu().chunk(4, dim=-1)
    return [tower(first)[0].tolist() for tower, first in zip(model.towers, first_layers, strict=True)]


EXAMPLE = {
    "pair (0, 1), removed": {
        "pair": (0, 1, "remove"),
        "summaries": [-0.799177, 0.200823, 0.4, -0.8],
        "verdicts": [[0.6, 0], [2.519506, 0], [0, 0.36], [0.400823, 0.718847]],
        "logit": -2.595934,
        "probability": 0.069401,
    },
    "pair (0, 1), not removed": {
        "pair": (0, 1, "keep"),
        "summaries": [-0.530869, 0.469131, -0.055156, 0.413751],
        "verdicts": [[0.6, 0], [0.871677, 0], [0, 0.936532], [0.669131, 0.343216]],
        "logit": -0.626400,
        "probability": 0.348327,
    },
    "pair (0, 2)": {
        "pair": (0, 2, "remove"),
        "summaries": [-0.530869, 0.469131, 0.740036, -0.459964],
        "verdicts": [[1.2, 0], [2.222507, 0], [0, 0.428007], [0.069131, 0.943216]],
        "logit": -2.024049,
        "probability": 0.116701,
    },
    "pair (2, 1)": {
        "pair": (2, 1, "remove"),
        "summaries": [-0.485407, 0.021236, -0.055156, 0.413751],
        "verdicts": [[1.12, 0.12], [0.844399, 0], [0, 0], [0.319907, 0.476912]],
        "logit": -1.023708,
        "probability": 0.264306,
    },
}
rows = pytest.mark.parametrize("row", EXAMPLE.values(), ids=EXAMPLE.keys())


@rows
def test_summaries_are_those_of_the_worked_example(row):
    assert summaries(worked_example(), gathered(*row["pair"])) == pytest.approx(row["summaries"], abs=DIGITS)


@rows
def test_the_four_towers_say_what_they_say_in_the_worked_example(row):
    found = verdicts(worked_example(), gathered(*row["pair"]))
    for verdict, expected in zip(found, row["verdicts"], strict=True):
        assert verdict == pytest.approx(expected, abs=DIGITS)


@rows
def test_the_logit_is_that_of_the_worked_example(row):
    logit = worked_example()(**gathered(*row["pair"]))
    assert logit.item() == pytest.approx(row["logit"], abs=DIGITS)
    assert logit.sigmoid().item() == pytest.approx(row["probability"], abs=DIGITS)


@pytest.mark.parametrize(
    ("chosen", "choosers", "alpha_user", "alpha_item"),
    [
        ([0, 3], [1], [0.502058, 0.497942], [1.0]),
        ([0, 1, 3], [0, 1], [0.333502, 0.335731, 0.330768], [0.758594, 0.241406]),
        ([0, 1, 3], [1, 2], [0.333502, 0.335731, 0.330768], [0.433274, 0.566726]),
        ([0, 2, 3], [0, 1], [0.389470, 0.224253, 0.386277], [0.758594, 0.241406]),
    ],
    ids=EXAMPLE.keys(),
)
def test_attention_weights_are_those_of_the_worked_example(chosen, choosers, alpha_user, alpha_item):
    weights = worked_example().attention(History.of([chosen], 4), History.of([choosers], 3))
    assert weights["user_history"].tolist() == pytest.approx(alpha_user, abs=DIGITS)
    assert weights["item_history"].tolist() == pytest.approx(alpha_item, abs=DIGITS)


def test_half_smoothing_is_that_of_the_worked_example():
    model, made = worked_example(smoothing=0.5), gathered(0, 1)
    assert summaries(model, made) == pytest.approx([-1.368649, 0.343925, 0.264472, -0.528944], abs=DIGITS)
    assert model(**made).item() == pytest.approx(-2.579738, abs=DIGITS)
    assert model(**made).sigmoid().item() == pytest.approx(0.070454, abs=DIGITS)


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_the_weights_that_are_shown_are_those_that_make_the_summaries(smoothing):
    model = worked_example(smoothing=smoothing)
    left = {"user_history": History.of([[0, 3]], 4), "item_history": History.of([[1]], 3)}
    weights = model.attention(**left)
    m, n = weights["user_history"] @ fill(1, 4, 2)[[0, 3]], weights["item_history"] @ fill(2, 3, 2)[[1]]
    assert summaries(model, gathered(0, 1)) == pytest.approx(torch.cat([m, n]).tolist())


def test_the_loss_is_that_of_the_worked_example():
    model = worked_example()

    def loss(user, item, label):
        made = INPUTS.gather(NAMES, np.array(user), np.array(item))
        return Pointwise().loss(model, Batch(made, tensor(label, dtype=torch.float64))).item()

    assert loss([0], [1], [1.0]) == pytest.approx(2.667860, abs=DIGITS)
    assert loss([0], [2], [0.0]) == pytest.approx(0.124091, abs=DIGITS)
    assert loss([0, 0], [1, 2], [1.0, 0.0]) == pytest.approx(1.395976, abs=DIGITS)


def test_with_equal_logits_a_summary_is_the_mean_of_its_history():
    model = worked_example()
    torch.nn.init.zeros_(model.user_attention.query)
    torch.nn.init.zeros_(model.item_attention.query)
    user_mean, item_mean = fill(1, 4, 2)[[0, 3]].mean(0), fill(2, 3, 2)[[1]].mean(0)
    assert summaries(model, gathered(0, 1)) == pytest.approx([*user_mean.tolist(), *item_mean.tolist()])


def test_a_tower_that_is_switched_off_takes_only_its_own_share_from_the_logit():
    model, made = worked_example(), gathered(0, 2)
    whole, spoken = model(**made).item(), tensor(verdicts(model, made)[1], dtype=torch.float64)
    share = (model.prediction.weight[0, 2:4] * spoken).sum().item()
    for parameter in (model.towers[1].user_weight, model.towers[1].item_weight, model.towers[1].bias):
        torch.nn.init.zeros_(parameter)
    assert share != 0
    assert model(**made).item() == pytest.approx(whole - share)


def test_without_histories_the_summaries_are_zeros_and_the_score_is_finite():
    nothing = {"user_history": History.of([[]], 4), "item_history": History.of([[]], 3)}
    model = worked_example()
    assert summaries(model, nothing) == [0.0, 0.0, 0.0, 0.0]
    assert model(tensor([0]), tensor([1]), **nothing).isfinite().all()


def test_relu_keys_that_are_all_negative_weigh_every_entry_alike():
    model = worked_example(key="relu")
    model.user_attention.key.bias.data.fill_(-100.0)
    weights = model.attention(History.of([[0, 1, 3]], 4), History.of([[0, 1]], 3))
    assert weights["user_history"].tolist() == pytest.approx([1 / 3] * 3)


def test_a_relu_key_is_the_rectified_affine_map_of_an_entry():
    model = worked_example(key="relu")
    key = np.maximum(fill(1, 4, 2).numpy() @ fill(5, 2, 2).numpy() + fill(6, 2).numpy(), 0)
    weight = np.exp(key[[0, 1]] @ fill(7, 2).numpy())
    weights = model.attention(History.of([[0, 1]], 4), History.of([[0]], 3))
    assert weights["user_history"].tolist() == pytest.approx((weight / weight.sum()).tolist())


def test_a_second_layer_of_the_towers_reads_the_first():
    model = DELF(Sizes(3, 4), DELF.Config(embedding_dim=2, attention_dim=2, layers=(3, 2)))
    assert [tuple(layer.weight.shape) for layer in model.towers[0].rest] == [(2, 3)]
    assert tuple(model.prediction.weight.shape) == (1, 8)


def test_what_training_leaves_out_is_a_setting_that_batches_follow():
    removed, kept = (
        next(Pointwise(batch_size=100).batches(INPUTS, worked_example(leave_out=way), np.random.default_rng(1)))
        for way in ("remove", "keep")
    )
    assert (removed.inputs["user_history"].left_out >= 0).tolist() == removed.label.bool().tolist()
    assert (kept.inputs["user_history"].left_out == -1).all()


def numbers_of(*names: str) -> list[np.ndarray]:
    """The vectors of pair (0, 1) by name, target taken out: p_0, q_1 by fill, m_0 and n_1 from the worked example."""
    known = {"p": fill(3, 3, 2)[0], "q": fill(4, 4, 2)[1], "m": tensor([-0.799177, 0.200823]), "n": tensor([0.4, -0.8])}
    return [np.asarray(known[name], dtype=np.float64) for name in names]


def relu(value: np.ndarray) -> np.ndarray:
    return np.maximum(value, 0)


def only_tower(model: DELF, user: np.ndarray, item: np.ndarray) -> float:
    """The logit of a model with one tower of one layer, from the tower's two inputs."""
    tower = model.towers[0]
    user_weight, item_weight, bias = (p.detach().numpy() for p in (tower.user_weight, tower.item_weight, tower.bias))
    verdict = relu(user_weight @ user + item_weight @ item + bias)
    return float(model.prediction.weight.detach().numpy()[0] @ verdict + model.prediction.bias.detach().numpy()[0])


@pytest.mark.parametrize(
    ("pairing", "user", "item"),
    [("histories", ["m"], ["n"]), ("joint", ["p", "m"], ["q", "n"]), ("sums", ["p", "m"], ["q", "n"])],
)
def test_with_one_tower_the_logit_is_what_it_makes_of_its_pairing(pairing, user, item):
    model = worked_example(pairing=pairing)
    join = np.concatenate if pairing == "joint" else sum
    expected = only_tower(model, join(numbers_of(*user)), join(numbers_of(*item)))
    assert model(**gathered(0, 1)).item() == pytest.approx(expected, abs=1e-5)


def test_without_attention_a_summary_is_the_sum_over_the_root_of_the_length_and_one():
    model = worked_example(pooling="sum")
    m, n = fill(1, 4, 2)[[0, 3]].sum(0) / 3**0.5, fill(2, 3, 2)[[1]].sum(0) / 2**0.5
    assert summaries(model, gathered(0, 1)) == pytest.approx([*m.tolist(), *n.tolist()])
    weights = model.attention(History.of([[0, 3]], 4), History.of([[1]], 3))
    assert weights["user_history"].tolist() == pytest.approx([3**-0.5] * 2)
    assert weights["item_history"].tolist() == pytest.approx([2**-0.5])


def test_the_mlp_fusion_is_one_more_layer_on_what_the_towers_say():
    model = worked_example(fusion="mlp")
    z = np.array([0.6, 0, 2.519506, 0, 0, 0.36, 0.400823, 0.718847])
    head = relu(model.head.weight.detach().numpy() @ z + model.head.bias.detach().numpy())
    expected = model.prediction.weight.detach().numpy()[0] @ head + model.prediction.bias.item()
    assert model(**gathered(0, 1)).item() == pytest.approx(expected, abs=1e-5)


def test_the_empirical_fusion_weighs_the_towers_by_how_much_is_known():
    model = worked_example(fusion="empirical")
    z1, z2, z3, z4 = np.array([[0.6, 0], [2.519506, 0], [0, 0.36], [0.400823, 0.718847]])
    user, item = 2**0.5 / 2, 0.5  # two items and one user are left
    z = user * item * z1 + (1 - user) * item * z4 + user * (1 - item) * z3 + (1 - user) * (1 - item) * z2
    head = relu(model.head.weight.detach().numpy() @ z + model.head.bias.detach().numpy())
    expected = model.prediction.weight.detach().numpy()[0] @ head + model.prediction.bias.item()
    assert model(**gathered(0, 1)).item() == pytest.approx(expected, abs=1e-5)


def test_trust_in_an_id_grows_with_the_root_of_the_length_up_to_four_entries():
    model = DELF(Sizes(1, 6), DELF.Config(fusion="empirical", fusion_lambda=2.0))
    lists = [list(range(length)) for length in range(6)]
    code = model.encode_user(torch.zeros(6, dtype=torch.int64), History.of(lists, 6))
    assert code[:, -1].tolist() == pytest.approx([0, 0.5, 0.707107, 0.866025, 1, 1], abs=DIGITS)


@pytest.mark.parametrize("settings", [{"fusion": "mlp"}, {"fusion": "empirical"}, {"pairing": "joint"}, {"pooling": "sum"}])
def test_rows_that_are_named_match_like_their_copies(settings):
    model, made = worked_example(**settings), INPUTS.gather(NAMES, np.array([0, 0, 2]), np.array([1, 2, 1]))
    user_code = model.encode_user(made["user"], made["user_history"])
    item_code = model.encode_item(made["item"], made["item_history"])
    row = tensor([2, 0, 1, 0])
    found = model.match_pairs(user_code, row, item_code, row.flip(0))
    assert found.tolist() == pytest.approx(model.match(user_code[row], item_code[row.flip(0)]).tolist())


def test_the_empirical_fusion_of_one_tower_is_refused():
    with pytest.raises(ValueError, match="fusion 'empirical' weighs the four towers of pairing 'all'; pairing is 'sums'"):
        DELF.Config(pairing="sums", fusion="empirical")
