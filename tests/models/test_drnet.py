"""DRNet's worked example by hand: three users, four items, rows of the matrix [1,1,0,1], [0,1,1,0], [1,0,1,1], all sizes 2."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import tensor

import attlas
from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError
from attlas.models.drnet import Affection, Association, DRNet
from attlas.models.protocol import asked_by
from attlas.recommender import Recommender, load
from attlas.scoring import Scorer
from attlas.training.fit import Descent, fit
from attlas.training.objectives import Batch, Pointwise
from tests.toy import chosen_by, two_tastes

CHOSEN = [[0, 1, 3], [1, 2], [0, 2, 3]]
INPUTS = Inputs(chosen_by(CHOSEN, 4))
NAMES = asked_by(DRNet)
DIGITS = 1e-6  # the example is written to six decimals
SMALL = {"embedding_dim": 3, "layers": (5, 4), "association_dim": 2, "association_layers": (4, 3), "stddev": 1.0}


def fill(t: int, rows: int, columns: int | None = None) -> torch.Tensor:
    """(((3r + 5c + 2t) mod 11) - 5) / 5."""
    row, column = np.arange(rows)[:, None], np.arange(columns or 1)[None]
    table = ((3 * row + 5 * column + 2 * t) % 11 - 5) / 5
    return torch.from_numpy(table if columns else table[:, 0])


AFFECTION = {
    "user_embedding.weight": fill(6, 3, 2),
    "item_embedding.weight": fill(7, 4, 2),
    "affection.layers.0.weight": fill(8, 2, 2).T,
    "affection.layers.0.bias": fill(9, 2),
}
ASSOCIATION = {
    "target_item.weight": fill(10, 4, 2),
    "history_item.weight": fill(11, 4, 2),
    "query": fill(12, 2),
    "association.layers.0.weight": fill(13, 2, 2).T,
    "association.layers.0.bias": fill(14, 2),
}


def worked_example(**settings) -> DRNet:
    """The example's numbers; it multiplies y @ W, where a linear layer stores the transpose of W."""
    model = DRNet(Sizes(3, 4), DRNet.Config(embedding_dim=2, layers=(2,), **settings)).double()
    model.load_state_dict({**AFFECTION, **ASSOCIATION, "prediction.weight": fill(15, 4)[None]}, strict=False)
    return model


def halves() -> tuple[Affection, Association]:
    """Either half of the example, with its own share of w."""
    affection = Affection(Sizes(3, 4), Affection.Config(embedding_dim=2, layers=(2,))).double()
    affection.load_state_dict({**AFFECTION, "prediction.weight": fill(15, 4)[None, :2]})
    association = Association(Sizes(3, 4), Association.Config(embedding_dim=2, layers=(2,))).double()
    association.load_state_dict({**AFFECTION, **ASSOCIATION, "prediction.weight": fill(15, 4)[None, 2:]})
    return affection, association


def gathered(user: int, item: int, leave_out: str = "remove") -> dict:
    return INPUTS.gather(NAMES, np.array([user]), np.array([item]), leave_out=leave_out)


def verdicts(model: DRNet, made: dict) -> list[list[float]]:
    """z_aff and z_asso of one pair."""
    user_code = model.encode_user(made["user"], made["user_history"])
    left, right = user_code.chunk(2, -1), model.encode_item(made["item"]).chunk(2, -1)
    return [model.affection(left[0], right[0])[0].tolist(), model.association(left[1], right[1])[0].tolist()]


EXAMPLE = {
    "pair (0, 1), removed": {
        "pair": (0, 1, "remove"),
        "smoothing": 0.5,
        "left": [0, 3],
        "f": [-0.2832, -0.2544],
        "alpha": [0.609312, 0.627115],
        "summary": [-0.107620, -0.250846],
        "verdicts": [[0.28, 0.96], [0.162713, 0.909012]],
        "logit": -0.675283,
        "probability": 0.337315,
    },
    "pair (0, 1), removed, full smoothing": {
        "pair": (0, 1, "remove"),
        "smoothing": 1.0,
        "left": [0, 3],
        "f": [-0.2832, -0.2544],
        "alpha": [0.492800, 0.507200],
        "summary": [-0.087041, -0.202880],
        "verdicts": [[0.28, 0.96], [0.169843, 0.888167]],
        "logit": -0.682304,
        "probability": 0.335747,
    },
    "pair (0, 1), not removed": {
        "pair": (0, 1, "keep"),
        "smoothing": 0.5,
        "left": [0, 1, 3],
        "f": [-0.2832, -0.168, -0.2544],
        "alpha": [0.488943, 0.548641, 0.503229],
        "summary": [-0.305816, 0.127893],
        "verdicts": [[0.28, 0.96], [0.161301, 0.975259]],
        "logit": -0.661468,
        "probability": 0.340410,
    },
    "pair (0, 2)": {
        "pair": (0, 2, "remove"),
        "smoothing": 0.5,
        "left": [0, 1, 3],
        "f": [-0.2832, -0.168, -0.2544],
        "alpha": [0.488943, 0.548641, 0.503229],
        "summary": [-0.305816, 0.127893],
        "verdicts": [[0.352, 0.408], [0.228693, 0.767079]],
        "logit": -0.134862,
        "probability": 0.466336,
    },
    "pair (2, 1)": {
        "pair": (2, 1, "remove"),
        "smoothing": 0.5,
        "left": [0, 2, 3],
        "f": [-0.0672, -0.3552, -0.1824],
        "alpha": [0.595015, 0.446119, 0.530270],
        "summary": [-0.081575, -0.658227],
        "verdicts": [[0.88, 0.60], [0.134290, 0.957524]],
        "logit": 0.065789,
        "probability": 0.516441,
    },
}
rows = pytest.mark.parametrize("row", EXAMPLE.values(), ids=EXAMPLE.keys())


@rows
def test_logits_and_weights_of_the_entries_are_those_of_the_worked_example(row):
    model, user = worked_example(smoothing=row["smoothing"]), tensor([row["pair"][0]])
    left = History.of([row["left"]], 4)
    assert (model.keys(user, left) @ model.query).tolist() == pytest.approx(row["f"], abs=DIGITS)
    assert model.attention(user, left)["user_history"].tolist() == pytest.approx(row["alpha"], abs=DIGITS)


@rows
def test_the_summary_is_that_of_the_worked_example(row):
    made = gathered(*row["pair"])
    summary = worked_example(smoothing=row["smoothing"]).summarise(made["user"], made["user_history"])
    assert summary[0].tolist() == pytest.approx(row["summary"], abs=DIGITS)


@rows
def test_the_two_towers_say_what_they_say_in_the_worked_example(row):
    found = verdicts(worked_example(smoothing=row["smoothing"]), gathered(*row["pair"]))
    for verdict, expected in zip(found, row["verdicts"], strict=True):
        assert verdict == pytest.approx(expected, abs=DIGITS)


@rows
def test_the_logit_is_that_of_the_worked_example(row):
    logit = worked_example(smoothing=row["smoothing"])(**gathered(*row["pair"]))
    assert logit.item() == pytest.approx(row["logit"], abs=DIGITS)
    assert logit.sigmoid().item() == pytest.approx(row["probability"], abs=DIGITS)


def test_the_keys_are_those_of_the_worked_example():
    keys = worked_example().keys(tensor([0]), History.of([[0, 1, 3]], 4))
    assert keys.tolist() == [pytest.approx(key, abs=DIGITS) for key in ([0.472, 1.248], [0.28, 0.96], [0.424, 1.616])]


def test_keys_made_some_at_a_time_are_those_made_at_once(monkeypatch):
    made, model = gathered(0, 1, "keep"), worked_example()
    expected = model.keys(made["user"], made["user_history"])
    monkeypatch.setattr("attlas.models.layers.PAIRS_AT_ONCE", 2)
    with torch.no_grad():
        torch.testing.assert_close(model.keys(made["user"], made["user_history"]), expected)


def test_the_loss_is_that_of_the_worked_example():
    def loss(user, item, label):
        made = INPUTS.gather(NAMES, np.array(user), np.array(item))
        return Pointwise().loss(worked_example(), Batch(made, tensor(label, dtype=torch.float64))).item()

    assert loss([0], [1], [1.0]) == pytest.approx(1.086738, abs=DIGITS)
    assert loss([0], [2], [0.0]) == pytest.approx(0.627988, abs=DIGITS)
    assert loss([0, 0], [1, 2], [1.0, 0.0]) == pytest.approx(0.857363, abs=DIGITS)


@rows
def test_the_two_halves_alone_say_what_sums_to_the_whole(row):
    affection, association = halves()
    made = gathered(*row["pair"])
    shares = affection(made["user"], made["item"]), association(**made)
    assert sum(shares).item() == pytest.approx(worked_example()(**made).item())
    assert min(abs(share.item()) for share in shares) > 1e-3


# The literal definition.


def literal(model: DRNet | Association, user: int, item: int, left: list[int]) -> torch.Tensor:
    """One pair, with its keys made for itself, and vectors put side by side before the first layer where they are."""

    def relate(tower, left_vector, right_vector):
        is_product = model.config.inputs == "product"
        hidden = left_vector * right_vector if is_product else torch.cat([left_vector, right_vector])
        for layer, norm in zip(tower.layers, tower.norms, strict=True):
            hidden = norm(layer(hidden)).relu()
        return hidden

    u, v = model.user_embedding.weight[user], model.item_embedding.weight
    z_asso = torch.zeros_like(model.history_item.weight[0])
    f = torch.stack([model.query @ relate(model.affection, u, v[j]) for j in left]) if left else torch.zeros(0)
    for alpha, j in zip(f.exp() / f.exp().sum() ** model.config.smoothing, left, strict=True):
        z_asso = z_asso + alpha * model.history_item.weight[j]
    z_asso = relate(model.association, z_asso, model.target_item.weight[item])
    verdict = torch.cat([relate(model.affection, u, v[item]), z_asso]) if isinstance(model, DRNet) else z_asso
    return model.prediction(verdict)[0]


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("inputs", ["product", "concatenation"])
@pytest.mark.parametrize("kind", [DRNet, Association])
def test_scores_and_gradients_are_those_of_the_literal_definition(kind, inputs, layer_norm, smoothing):
    torch.manual_seed(3)
    chosen = [[0, 1, 3], [1, 2], [4], [], [0, 1, 2, 3, 4]]
    settings = {"inputs": inputs, "layer_norm": layer_norm, "smoothing": smoothing, "bias": True}
    model = kind(Sizes(5, 5), kind.Config(**SMALL, **settings)).double()
    user, item = (places.ravel() for places in np.meshgrid(np.arange(5), np.arange(5), indexing="ij"))
    found = model(**Inputs(chosen_by(chosen, 5)).gather(NAMES, user, item))
    pairs = zip(user.tolist(), item.tolist(), strict=True)
    expected = torch.stack([literal(model, u, i, [j for j in chosen[u] if j != i]) for u, i in pairs])
    torch.testing.assert_close(found, expected)
    mixture = torch.linspace(-1, 2, 25, dtype=torch.float64)
    parameters = dict(model.named_parameters())
    gradients = [torch.autograd.grad((score * mixture).sum(), list(parameters.values())) for score in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("inputs", ["product", "concatenation"])
@pytest.mark.parametrize("kind", [DRNet, Association, Affection])
def test_the_whole_catalogue_is_scored_as_pair_by_pair(kind, inputs):
    torch.manual_seed(4)
    shape = SMALL if kind is not Affection else {"embedding_dim": 3, "layers": (5, 4), "stddev": 1.0}
    model = kind(INPUTS.sizes, kind.Config(**shape, inputs=inputs)).eval()
    catalogue = Scorer(model, INPUTS).score_all(np.arange(3))
    user, item = (places.ravel() for places in np.meshgrid(np.arange(3), np.arange(4), indexing="ij"))
    with torch.no_grad():
        expected = model(**INPUTS.gather(asked_by(model), user, item, leave_out="keep"))
    np.testing.assert_allclose(catalogue.ravel(), expected.numpy(), rtol=1e-5, atol=1e-6)


# What becomes of it when a part is switched off.


def test_affection_through_a_tower_that_changes_nothing_is_the_weighted_product_of_two_vectors():
    model = Affection(Sizes(2, 3), Affection.Config(embedding_dim=2, layers=(2,)))
    torch.nn.init.uniform_(model.user_embedding.weight)
    torch.nn.init.uniform_(model.item_embedding.weight)
    torch.nn.init.eye_(model.affection.layers[0].weight)
    expected = (model.user_embedding.weight[[1]] * model.item_embedding.weight[[2]] * model.prediction.weight).sum(-1)
    torch.testing.assert_close(model(tensor([1]), tensor([2])), expected)


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_without_a_query_the_summary_is_the_sum_of_the_history_over_its_length_to_the_smoothing(smoothing):
    model, made = worked_example(smoothing=smoothing), gathered(0, 2)
    torch.nn.init.zeros_(model.query)
    summary = model.summarise(made["user"], made["user_history"])[0]
    assert summary.tolist() == pytest.approx((fill(11, 4, 2)[[0, 1, 3]].sum(0) / 3**smoothing).tolist())


def test_a_dead_tower_of_affection_weighs_every_entry_alike():
    model = worked_example()
    model.affection.layers[0].bias.data.fill_(-100.0)
    weights = model.attention(tensor([0]), History.of([[0, 1, 3]], 4))["user_history"]
    assert weights.tolist() == pytest.approx([3**-0.5] * 3)


def test_who_chose_nothing_but_the_target_has_zeros_for_a_summary():
    history = Inputs(chosen_by([[2]], 4)).gather(NAMES, np.array([0]), np.array([2]))["user_history"]
    assert worked_example().summarise(tensor([0]), history).tolist() == [[0.0, 0.0]]


def test_lists_that_nobody_asks_for_change_nothing_and_weigh_nothing():
    model, few = worked_example(), History.of(CHOSEN, 4, row=[2, 0, 2])
    user = tensor([2, 0, 2])
    alone = model.summarise(user, History.of([CHOSEN[2], CHOSEN[0]], 4, row=[0, 1, 0]))
    torch.testing.assert_close(model.summarise(user, few), alone)
    weights = model.attention(user, few)["user_history"]
    expected = [*EXAMPLE["pair (0, 2)"]["alpha"], 0.0, 0.0, *EXAMPLE["pair (2, 1)"]["alpha"]]
    assert weights.tolist() == pytest.approx(expected, abs=DIGITS)


def test_layers_are_as_many_and_as_wide_as_said():
    model = DRNet(Sizes(3, 4), DRNet.Config(**SMALL, inputs="concatenation"))
    shapes = [[tuple(layer.weight.shape) for layer in tower.layers] for tower in (model.affection, model.association)]
    assert shapes == [[(5, 6), (4, 5)], [(4, 4), (3, 4)]]
    assert (tuple(model.query.shape), tuple(model.prediction.weight.shape)) == ((4,), (1, 7))


def test_dropout_silences_units_in_training_alone():
    torch.manual_seed(1)
    model = DRNet(INPUTS.sizes, DRNet.Config(**SMALL, dropout=0.5))
    made = gathered(0, 1)
    torch.manual_seed(2)
    assert len({model(**made).item() for _ in range(8)}) > 1
    model.eval()
    assert len({model(**made).item() for _ in range(8)}) == 1


def test_what_training_leaves_out_is_a_setting_that_batches_follow():
    removed, kept = (
        next(Pointwise(batch_size=100).batches(INPUTS, worked_example(leave_out=way), np.random.default_rng(1)))
        for way in ("remove", "keep")
    )
    assert (removed.inputs["user_history"].left_out >= 0).tolist() == removed.label.bool().tolist()
    assert (kept.inputs["user_history"].left_out == -1).all()


def test_a_negative_loses_an_entry_too_unless_told_otherwise():
    batch = next(Pointwise(batch_size=100).batches(INPUTS, worked_example(), np.random.default_rng(1)))
    assert (batch.inputs["user_history"].left_out >= 0).all()
    assert Association.Config().leave_out == DRNet.Config().leave_out == "matched"


# Where the keys come from.


def slopes_of_affection(keys: str) -> torch.Tensor:
    """The gradient of the user's vector where affection has no share in the output, so that it comes by the keys alone."""
    model = worked_example(keys=keys)
    model.prediction.weight.data[:, :2] = 0.0
    (slope,) = torch.autograd.grad(model(**gathered(0, 2)), [model.user_embedding.weight])
    return slope


def test_joint_keys_train_affection_and_detached_ones_do_not():
    assert slopes_of_affection("joint")[0].abs().max() > 1e-3
    assert slopes_of_affection("detach").abs().max() == 0


def test_detached_keys_say_the_same_as_joint_ones():
    assert worked_example(keys="detach")(**gathered(0, 1)).item() == worked_example()(**gathered(0, 1)).item()


def taught(kind: type[Association] = DRNet) -> tuple[Association, Affection]:
    """A model with the keys of a random affection network, on two tastes."""
    torch.manual_seed(5)
    sizes = Inputs(two_tastes().train).sizes
    affection = Affection(sizes, Affection.Config(embedding_dim=4, layers=(8, 4), stddev=1.0))
    model = kind(sizes, kind.Config(embedding_dim=4, layers=(8, 4), keys="pretrained", dropout=0.1, stddev=0.1))
    model.fuse(affection)
    return model, affection


@pytest.mark.parametrize("kind", [DRNet, Association])
def test_pretrained_keys_are_what_affection_says_and_training_leaves_them_as_they_are(kind):
    model, affection = taught(kind)
    inputs = Inputs(two_tastes().train)
    made = inputs.gather(NAMES, np.array([0, 3]), np.array([1, 2]))
    before = model.keys(made["user"], made["user_history"])
    entries = made["user_history"].distinct[made["user_history"].index]
    users = made["user"][made["user_history"].owner]
    expected = affection.affection(affection.user_embedding(users), affection.item_embedding(entries))
    torch.testing.assert_close(before, expected, rtol=0, atol=0)
    query = model.query.detach().clone()
    fit(model, Descent(model, Pointwise(batch_size=128), learning_rate=0.05), inputs, epochs=2, seed=1)
    assert not torch.equal(model.query, query)
    assert torch.equal(model.train().keys(made["user"], made["user_history"]), before)


@pytest.mark.parametrize("kind", [DRNet, Association])
def test_keys_that_were_asked_for_and_not_given_are_refused_before_the_first_epoch(kind):
    model, inputs = kind(INPUTS.sizes, kind.Config(keys="pretrained")), INPUTS
    with pytest.raises(
        ConfigError, match=r"keys = 'pretrained' came without any; name a run of affection in \[training\] start"
    ):
        fit(model, Descent(model, Pointwise()), inputs, epochs=1, seed=1)


def test_affection_of_another_shape_and_what_is_no_affection_make_no_keys():
    model = DRNet(INPUTS.sizes, DRNet.Config(embedding_dim=4))
    with pytest.raises(ConfigError, match=r"affection was trained with embedding_dim = 32; got 4 here, make both equal"):
        model.fuse(Affection(INPUTS.sizes))
    with pytest.raises(ConfigError, match="DRNet takes its keys from one run of affection; got DRNet and Affection"):
        model.fuse(DRNet(INPUTS.sizes), Affection(INPUTS.sizes))


@pytest.mark.parametrize("keys", ["joint", "pretrained"])
@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        (Sizes(3, 5), "affection has 5 rows of item_embedding, this model 4; train both on one data set"),
        (Sizes(2, 4), "affection has 2 rows of user_embedding, this model 3; train both on one data set"),
    ],
    ids=["items", "users"],
)
def test_affection_of_other_data_makes_no_keys_and_changes_nothing(sizes, complaint, keys):
    model = DRNet(Sizes(3, 4), DRNet.Config(keys=keys))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ConfigError, match=complaint):
        model.fuse(Affection(sizes))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("keys", ["joint", "pretrained"])
def test_a_fit_that_starts_from_a_run_of_affection_has_its_keys_and_trains_them_on_unless_they_are_frozen(keys, tmp_path):
    small = {"embedding_dim": 4, "layers": (8, 4)}
    steps = {"learning_rate": 0.01, "batch_size": 128}
    before = attlas.fit(two_tastes(), "affection", config=small, solver=steps, epochs=2, out=tmp_path / "before").model
    made = attlas.fit(two_tastes(), "drnet", config={**small, "keys": keys}, solver=steps, epochs=1, start=tmp_path / "before")
    key_item = getattr(made.model, made.model.key_parts[1]).weight
    step = (key_item - before.item_embedding.weight).abs().max().item()
    # Adam moves a weight by about the learning rate a step, and an epoch has five of these.
    assert step == 0 if keys == "pretrained" else 0 < step < 0.06


@pytest.mark.parametrize("kind", [DRNet, Association])
def test_with_pretrained_keys_it_serves_strangers_and_comes_back_from_a_folder_with_the_same_bits(kind, tmp_path):
    model = taught(kind)[0].eval()
    card = {"model": {"name": kind.__name__.lower(), "config": asdict(model.config)}}
    made = Recommender(model, Inputs(two_tastes().train), card=card)
    frame = made.recommend_for(["i0", "i2"], k=3)
    assert frame["way"].to_list() == ["fitted user vector"] * 3
    again = load(made.save(tmp_path / "run"))
    assert again.recommend_for(["i0", "i2"], k=3).equals(frame)
    assert bool(again.model.has_keys)
