"""NAIS's worked example by hand: three users, four items, rows of the matrix [1,1,0,1], [0,1,1,0], [1,0,1,1]; D = 2, A = 3."""

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from attlas.data.inputs import History, Inputs, Sizes, whole
from attlas.errors import ConfigError
from attlas.models import nais
from attlas.models.fism import FISM
from attlas.models.nais import NAIS
from attlas.ops.cells import asked_cells
from attlas.ops.ragged import Ragged
from attlas.training.objectives import Batch, Pointwise
from tests.toy import chosen_by

INPUTS = Inputs(chosen_by([[0, 1, 3], [1, 2], [0, 2, 3]], 4))
DIGITS = 1e-6  # the example is written to six decimals
SMALL = {"embedding_dim": 2, "attention_dim": 3}
forms = pytest.mark.parametrize("attention", ["product", "concatenation"])


def fill(t: int, rows: int, columns: int | None = None) -> torch.Tensor:
    """(((3r + 5c + 2t) mod 11) - 5) / 5."""
    row, column = np.arange(rows)[:, None], np.arange(columns or 1)[None]
    table = ((3 * row + 5 * column + 2 * t) % 11 - 5) / 5
    return torch.from_numpy(table if columns else table[:, 0])


def worked_example(attention: str = "product", **settings) -> NAIS:
    """The example's numbers; it multiplies (p * q) @ W, where a linear layer stores the transpose of W."""
    model = NAIS(Sizes(3, 4), NAIS.Config(**SMALL, attention=attention, item_bias=False, **settings)).double()
    weights = {
        "item_embedding.weight": fill(1, 4, 2),
        "history_item.weight": fill(2, 4, 2),
        "hidden.weight": (fill(3, 2, 3) if attention == "product" else fill(4, 4, 3)).T,
        "hidden.bias": fill(5, 3),
        "head": fill(6, 3),
    }
    model.load_state_dict(weights)
    return model


def gathered(user: list[int], item: list[int]) -> dict:
    return INPUTS.gather(("item", "user_history"), np.array(user), np.array(item))


ROWS = {
    "product (0, 1)": {
        "attention": "product",
        "item": 1,
        "chosen": [0, 3],
        "logits": [-1.12, -0.96],
        "weights": [0.387449, 0.454675],
        "products": [0.8, 0.4],
        "score": 0.491829,
        "probability": 0.620537,
    },
    "product (0, 2)": {
        "attention": "product",
        "item": 2,
        "chosen": [0, 1, 3],
        "logits": [-0.4736, -1.0304, -0.5888],
        "weights": [0.502711, 0.288074, 0.448010],
        "products": [-0.6, 0.72, -0.6],
        "score": -0.363020,
        "probability": 0.410229,
    },
    "concatenation (0, 1)": {
        "attention": "concatenation",
        "item": 1,
        "chosen": [0, 3],
        "logits": [0.256, 0.288],
        "weights": [0.797210, 0.823133],
        "products": [0.8, 0.4],
        "score": 0.967021,
        "probability": 0.724525,
    },
    "concatenation (0, 2)": {
        "attention": "concatenation",
        "item": 2,
        "chosen": [0, 1, 3],
        "logits": [-1.76, -1.328, -1.824],
        "weights": [0.222400, 0.342571, 0.208612],
        "products": [-0.6, 0.72, -0.6],
        "score": -0.011957,
        "probability": 0.497011,
    },
}
rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())


@rows
def test_logits_are_those_of_the_worked_example(row):
    wanted = Ragged.of([row["chosen"]], 4)
    logits = worked_example(row["attention"]).logits(tensor([row["item"]]), torch.arange(4), wanted)
    assert logits.tolist() == pytest.approx(row["logits"], abs=DIGITS)


@rows
def test_weights_are_those_of_the_worked_example(row):
    weights = worked_example(row["attention"]).attention(tensor([row["item"]]), History.of([row["chosen"]], 4))
    assert weights["user_history"].tolist() == pytest.approx(row["weights"], abs=DIGITS)


@rows
def test_the_score_is_that_of_the_worked_example(row):
    model = worked_example(row["attention"])
    products = fill(2, 4, 2)[row["chosen"]] @ fill(1, 4, 2)[row["item"]]
    assert products.tolist() == pytest.approx(row["products"])
    score = model(**gathered([0], [row["item"]]))
    assert score.item() == pytest.approx(row["score"], abs=DIGITS)
    assert score.sigmoid().item() == pytest.approx(row["probability"], abs=DIGITS)


@pytest.mark.parametrize(
    ("attention", "smoothing", "expected"),
    [
        ("product", 0.5, [-0.115698, 0.491829, -0.363020, -0.109372]),
        ("product", 1.0, [-0.117418, 0.584034, -0.293043, -0.114389]),
        ("concatenation", 0.5, [-0.053239, 0.967021, -0.011957, -0.158468]),
        ("concatenation", 1.0, [-0.041588, 0.596800, -0.015456, -0.135828]),
    ],
)
def test_all_items_score_as_in_the_worked_example(attention, smoothing, expected):
    model = worked_example(attention, smoothing=smoothing)
    assert model(**gathered([0] * 4, [0, 1, 2, 3])).tolist() == pytest.approx(expected, abs=DIGITS)


def test_the_loss_is_that_of_the_worked_example():
    def loss(user, item, label):
        batch = Batch(gathered(user, item), tensor(label, dtype=torch.float64))
        return Pointwise().loss(worked_example(), batch).item()

    assert loss([0], [1], [1.0]) == pytest.approx(0.477170, abs=DIGITS)
    assert loss([0], [2], [0.0]) == pytest.approx(0.528020, abs=DIGITS)
    assert loss([0, 0], [1, 2], [1.0, 0.0]) == pytest.approx(0.502595, abs=DIGITS)


def random_model(**settings) -> NAIS:
    torch.manual_seed(3)
    return NAIS(Sizes(20, 15), NAIS.Config(embedding_dim=4, attention_dim=5, stddev=1.0, **settings)).double()


def random_inputs() -> Inputs:
    rng = np.random.default_rng(3)
    return Inputs(chosen_by([sorted(rng.permutation(15)[:count].tolist()) for count in rng.integers(0, 15, 20)], 15))


def literal_score(model: NAIS, item: int, places: list[int]) -> torch.Tensor:
    """The text's formula for one pair: an entry after the other, the network on each."""
    config, p = model.config, model.item_embedding.weight[item]
    q = model.history_item.weight[places]
    seen = p * q if config.attention == "product" else torch.cat([p.expand_as(q), q], dim=1)
    exp = (model.hidden(seen).relu() @ model.head).exp()
    share = max(len(places), 1) ** -config.normalisation
    bias = 0.0 if model.item_bias is None else model.item_bias[item]
    return share * (exp / exp.sum().pow(config.smoothing) * (q @ p)).sum() + bias if places else p.sum() * 0.0 + bias


def literal_scores(model: NAIS, inputs: Inputs, user: np.ndarray, item: np.ndarray) -> torch.Tensor:
    lists = [[j for j in inputs.train.by_user[[u]].indices.tolist() if j != i] for u, i in zip(user, item, strict=True)]
    return torch.stack([literal_score(model, i, places) for i, places in zip(item.tolist(), lists, strict=True)])


@pytest.mark.parametrize(("pairs", "is_full"), [(300, True), (12, False)])
@pytest.mark.parametrize("settings", [{}, {"smoothing": 1.0}, {"normalisation": 0.5}, {"item_bias": False}])
@forms
def test_scores_and_gradients_are_those_of_the_formula_read_literally(attention, settings, pairs, is_full):
    model, inputs, rng = random_model(attention=attention, **settings), random_inputs(), np.random.default_rng(4)
    user, item = rng.integers(0, 20, pairs), rng.integers(0, 15, pairs)
    made = inputs.gather(("item", "user_history"), user, item)
    target_C, target_B = made["item"].unique(return_inverse=True)
    history = made["user_history"]
    assert asked_cells(history.lists, target_B, history.row, len(target_C)).is_full == is_full
    fast, literal = model(**made), literal_scores(model, inputs, user, item)
    mixture = torch.linspace(-1, 2, pairs, dtype=torch.float64)
    parameters = list(model.parameters())
    assert_close(fast, literal)
    expected = torch.autograd.grad((literal * mixture).sum(), parameters)
    for found, gradient in zip(torch.autograd.grad((fast * mixture).sum(), parameters), expected, strict=True):
        assert_close(found, gradient)


@pytest.mark.parametrize("targets_at_once", [1, 4, 100])
def test_the_catalogue_is_scored_as_the_formula_has_it_however_it_is_cut(targets_at_once, monkeypatch):
    monkeypatch.setattr(nais, "CATALOGUE_CELLS", 15 * targets_at_once)
    model, inputs = random_model(), random_inputs()
    found = model.score_catalogue(whole(inputs.user_lists, torch.arange(20)))
    literal = [
        [literal_score(model, i, inputs.train.by_user[[u]].indices.tolist()).item() for i in range(15)] for u in range(20)
    ]
    assert_close(found.detach(), torch.tensor(literal, dtype=torch.float64))


def test_the_same_batch_gives_the_same_bits_again():
    inputs, rng = random_inputs(), np.random.default_rng(4)
    made = inputs.gather(("item", "user_history"), rng.integers(0, 20, 500), rng.integers(0, 15, 500))

    def bits() -> list[bytes]:
        model = random_model().float()
        score = model(**made)
        gradients = torch.autograd.grad(score.square().sum(), list(model.parameters()))
        return [tensor.detach().numpy().tobytes() for tensor in (score, *gradients)]

    assert bits() == bits()


@forms
@pytest.mark.parametrize("smoothing", [0.5, 1.0])
def test_without_attention_nais_is_fism_whose_alpha_is_beta(attention, smoothing):
    model, inputs = random_model(attention=attention, smoothing=smoothing), random_inputs()
    torch.nn.init.zeros_(model.head)
    torch.nn.init.normal_(model.item_bias)
    fism = FISM(Sizes(20, 15), FISM.Config(embedding_dim=4, normalisation=smoothing)).double()
    fism.load_state_dict({name: weight for name, weight in model.state_dict().items() if name in fism.state_dict()})
    made = inputs.gather(("item", "user_history"), np.repeat(np.arange(20), 15), np.tile(np.arange(15), 20))
    assert_close(model(**made), fism(**made))


def test_without_smoothing_weights_sum_to_1_and_with_it_they_carry_the_length():
    history = History.of([[0, 1], list(range(8))], 15)
    once, half = (random_model(smoothing=smoothing).attention(tensor([9, 9]), history) for smoothing in (1.0, 0.5))
    assert [part.sum().item() for part in once["user_history"].split([2, 8])] == pytest.approx([1.0, 1.0])
    short, long = (part.sum().item() for part in half["user_history"].split([2, 8]))
    assert long > short > 1


def test_an_empty_history_scores_the_bias_of_the_item():
    model = random_model()
    torch.nn.init.normal_(model.item_bias)
    assert_close(model(tensor([4, 7]), History.of([[], []], 15)), model.item_bias[[4, 7]])
    lone = Inputs(chosen_by([[4]], 15)).gather(("item", "user_history"), np.array([0]), np.array([4]))
    assert_close(model(**lone), model.item_bias[[4]])


def test_logits_in_the_hundreds_leave_a_softmax_finite_and_on_its_largest():
    model = random_model(smoothing=1.0).float()
    torch.nn.init.constant_(model.head, 300.0)
    history = History.of([[1, 2, 3]], 15)
    logits = model.logits(tensor([5]), torch.arange(15), history.lists)
    best = int(logits.argmax())
    expected = model.history_item.weight[best + 1] @ model.item_embedding.weight[5] + model.item_bias[5]
    assert logits.max() > 300
    assert_close(model(tensor([5]), history), expected[None])


def test_the_head_starts_at_ones_as_in_the_code_or_at_random():
    ones, random = (NAIS(Sizes(2, 3), NAIS.Config(head=head)).head for head in ("ones", "random"))
    assert (ones == 1).all()
    assert len(set(random.tolist())) == 64


def test_the_network_starts_cut_at_two_deviations_as_in_the_code():
    torch.manual_seed(1)
    hidden = NAIS(Sizes(2, 3), NAIS.Config(embedding_dim=200, attention_dim=200)).hidden
    stddev = (2 / 400) ** 0.5
    for part in (hidden.weight, hidden.bias):
        assert part.abs().max().item() <= 2 * stddev * (1 + 1e-6)
    assert hidden.weight.std().item() == pytest.approx(0.88 * stddev, rel=0.02)  # what is left of a spread of 1


def a_fism(**settings) -> FISM:
    torch.manual_seed(4)
    fism = FISM(Sizes(20, 15), FISM.Config(**{"embedding_dim": 4, "stddev": 1.0} | settings)).double()
    if fism.item_bias is not None:
        torch.nn.init.normal_(fism.item_bias)
    return fism


@pytest.mark.parametrize("item_bias", [True, False])
def test_it_starts_from_the_tables_and_biases_of_a_fism_and_keeps_its_own_attention(item_bias):
    fism, model = a_fism(item_bias=item_bias), random_model(item_bias=item_bias)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.fuse(fism)
    expected = before | fism.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())
    model.item_embedding.weight.data.zero_()
    assert fism.item_embedding.weight.abs().max() > 0


def test_without_attention_it_says_what_the_fism_that_it_starts_from_says():
    fism, model, inputs = a_fism(normalisation=0.5), random_model(smoothing=0.5), random_inputs()
    model.fuse(fism)
    torch.nn.init.zeros_(model.head)
    made = inputs.gather(("item", "user_history"), np.repeat(np.arange(20), 15), np.tile(np.arange(15), 20))
    assert_close(model(**made), fism(**made))


def test_what_is_no_fism_of_its_settings_is_no_start():
    with pytest.raises(ConfigError, match="NAIS starts from one run of FISM with the same item_bias; got FISM and FISM"):
        random_model().fuse(a_fism(), a_fism())
    with pytest.raises(ConfigError, match="NAIS starts from one run of FISM with the same item_bias; got FISM"):
        random_model().fuse(a_fism(item_bias=False))
    with pytest.raises(ConfigError, match="FISM is of other sizes than NAIS; give both the same embedding_dim and data"):
        random_model().fuse(a_fism(embedding_dim=5))


def test_the_two_tables_of_items_are_never_shared():
    model = NAIS(Sizes(2, 3))
    assert model.item_embedding.weight is not model.history_item.weight
    assert not torch.equal(model.item_embedding.weight, model.history_item.weight)


def test_a_table_gives_the_scores_of_the_catalogue_and_steps_back_where_its_digits_are_lost() -> None:
    torch.manual_seed(0)
    config = NAIS.Config(embedding_dim=3, attention_dim=4, stddev=1.0, normalisation=0.3, smoothing=1.0)
    model = NAIS(Sizes(3, 6), config).eval()
    history = History.of([[0, 2], [], [1, 3, 4, 5]], 6)
    table = model.tabulate()
    assert_close(model.score_from(table, history), model.score_catalogue(history))
    with torch.no_grad():
        model.head.mul_(1000.0)  # logits a thousand times as far apart: exp of most is nothing beside the largest
    table = model.tabulate()
    assert table.sums(history.lists)[1].any()
    assert torch.equal(model.score_from(table, history), model.score_catalogue(history))
