"""What is particular about attention per target: lists far below the target's largest logit, and the entry that is left out."""

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from attlas.ops.ragged import Ragged
from attlas.ops.targets import targeted_sum, targeted_sum_reference

ROWS = Ragged.of([[0, 1, 2], [2, 3], [3]], 4)
CELLS = Ragged.full(2, 4)
ASKERS = {"target_B": tensor([0, 0, 1, 1]), "row_B": tensor([0, 1, 1, 2])}


def asked(logit: list[float], left_out: list[int], smoothing: float = 1.0, dtype: torch.dtype = torch.float32) -> list:
    """Sums of the four askers and their gradients, by the op and by its twin."""
    results = []
    for function in (targeted_sum, targeted_sum_reference):
        value_N = torch.arange(1.0, 9.0, dtype=dtype).requires_grad_()
        logit_N = tensor(logit, dtype=dtype).requires_grad_()
        lists = {"cells": CELLS, "rows": ROWS, **ASKERS, "left_out_B": tensor(left_out)}
        sum_B = function(value_N, logit_N, **lists, smoothing=smoothing)
        mixture = torch.linspace(1, 2, 4, dtype=dtype)
        results.append([sum_B.detach(), *torch.autograd.grad((sum_B * mixture).sum(), (value_N, logit_N))])
    return results


@pytest.mark.parametrize("below", [30.0, 50.0, 80.0, 300.0])
def test_a_list_far_below_the_targets_largest_logit_keeps_its_digits(below):
    logit = [below, 0.0, -0.5, 0.5, below, below, 0.25, 0.0]
    ours, literal = asked(logit, [-1, -1, -1, -1])
    for one, other in zip(ours, literal, strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert ours[0][1].item() == pytest.approx((3 + 4 * torch.e) / (1 + torch.e), rel=1e-5)


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_leaving_out_the_entry_with_nearly_all_the_weight_keeps_the_digits_of_the_rest(smoothing):
    ours, literal = asked([25.0, 0.0, 0.1, 0.2, 0.0, 0.1, 0.2, 25.0], [0, 4, 4, -1], smoothing)
    for one, other in zip(ours, literal, strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_an_asker_who_leaves_out_the_only_entry_gets_nothing_and_gives_no_gradient():
    ours, _ = asked([0.0] * 8, [-1, -1, -1, 5])
    assert ours[0][3] == 0
    value_gradient = ours[1].reshape(2, 4)
    assert value_gradient[1, 3] == pytest.approx(0.5 * (1 + 2 / 3))  # of the third asker alone
