import numpy as np
import pytest
import torch

from attlas.data.inputs import Inputs
from attlas.models.delf import DELF
from attlas.models.protocol import PairMatching, Sharing
from attlas.training.halves import distinct_askers, score_pairs
from tests.toy import two_tastes

TRAIN = two_tastes().train
INPUTS = Inputs(TRAIN)
NAMES = ("user", "item", "user_history", "item_history")


def pairs(seed: int = 1, *, leave_out: str = "remove") -> dict:
    """Rows of training, each twice, and random pairs."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(TRAIN), 40)
    user = np.concatenate([TRAIN.user[rows], TRAIN.user[rows], rng.integers(0, 16, 200)])
    item = np.concatenate([TRAIN.item[rows], TRAIN.item[rows], rng.integers(0, 16, 200)])
    return INPUTS.gather(NAMES, user, item, leave_out=leave_out, rng=rng)


def delf() -> DELF:
    torch.manual_seed(1)
    config = DELF.Config(embedding_dim=4, attention_dim=3, layers=(6, 5, 3), stddev=0.5)
    return DELF(INPUTS.sizes, config).double()


class Unpaired(torch.nn.Module):
    """DELF without the ability to match codes where they lie."""

    def __init__(self):
        super().__init__()
        self.delf = delf()

    def forward(self, user, item, user_history, item_history):
        return self.delf(user, item, user_history, item_history)

    def encode_user(self, user, user_history):
        return self.delf.encode_user(user, user_history)

    def encode_item(self, item, item_history):
        return self.delf.encode_item(item, item_history)

    def match(self, user_code, item_code):
        return self.delf.match(user_code, item_code)


def test_only_one_of_the_two_matches_codes_where_they_lie():
    assert isinstance(delf(), PairMatching)
    assert not isinstance(Unpaired(), PairMatching)


@pytest.mark.parametrize("leave_out", ["remove", "matched", "keep"])
@pytest.mark.parametrize("make", [delf, Unpaired])
def test_halves_encoded_once_give_the_scores_and_gradients_of_forward(make, leave_out):
    model, made = make(), pairs(leave_out=leave_out)
    found, expected = score_pairs(model, made), model(**made)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    mixture = torch.linspace(-1, 2, len(found), dtype=torch.float64)
    gradients = [torch.autograd.grad((score * mixture).sum(), list(model.parameters())) for score in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_an_asker_is_a_user_with_the_whole_history_or_a_pair_that_leaves_something_out():
    made = pairs()
    history = made["user_history"]
    first, row = distinct_askers({"user": made["user"], "user_history": history})
    assert (made["user"][first][row] == made["user"]).all()
    assert (history.left_out[first][row] == history.left_out).all()
    apart = int((history.left_out >= 0).sum())
    whole = len(set(made["user"][history.left_out < 0].tolist()))
    assert len(first) == whole + apart < len(row)


def test_without_a_history_an_asker_is_a_user():
    first, row = distinct_askers({"user": torch.tensor([4, 2, 4, 2, 7])})
    assert first.tolist() == [1, 0, 4]
    assert row.tolist() == [1, 0, 1, 0, 2]


def test_a_model_that_does_not_separate_is_asked_as_it_is():
    class Sum(torch.nn.Module):
        def forward(self, user, item):
            return (user + item).float()

    assert score_pairs(Sum(), {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).tolist() == [4.0, 6.0]


def test_a_model_that_shares_by_itself_is_asked_as_it_is():
    class Shared(Unpaired):
        shares = True

        def forward(self, user, item, user_history, item_history):
            return item.float()

    assert isinstance(Shared(), Sharing)
    assert not isinstance(Unpaired(), Sharing)
    assert score_pairs(Shared(), pairs()).tolist() == pairs()["item"].tolist()
