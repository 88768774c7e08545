import numpy as np
import pytest
import torch

from attlas.ops.entries import attentive_sum_of_entries, attentive_sum_of_entries_reference
from attlas.ops.ragged import Ragged
from attlas.ops.segments import attentive_sum

GAPS = [5, 8, 12, 16, 20, 40, 60, 120]
NOBODY = torch.zeros(0, dtype=torch.int64)


def hundred_entries(gap: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and logits in float32; entry 37 stands ``gap`` above the best of the rest."""
    generator = torch.Generator().manual_seed(int(gap))
    value_ED, logit_T = torch.randn(100, 8, generator=generator), torch.randn(100, generator=generator)
    logit_T[37] = -torch.inf
    logit_T[37] = logit_T.max() + gap
    return value_ED, logit_T


def each_left_out_once(value_ED, logit_T, attend=attentive_sum_of_entries, **options) -> torch.Tensor:
    """Of one list, the sum without its first entry, without its second, .., and at last the whole one."""
    count = len(value_ED)
    left_out_B = torch.cat([torch.arange(count), torch.tensor([-1])])
    return attend(value_ED, logit_T, Ragged.of([range(count)], count), torch.zeros_like(left_out_B), left_out_B, **options)


@pytest.mark.parametrize("gap", GAPS)
def test_leaving_an_entry_out_keeps_its_digits_however_far_the_largest_logit_stands_out(gap):
    value_ED, logit_T = hundred_entries(gap)
    found = each_left_out_once(value_ED, logit_T)
    expected = each_left_out_once(value_ED.double(), logit_T.double(), attentive_sum_of_entries_reference)
    assert (found - expected).abs().max() < 5e-6


@pytest.mark.parametrize("gap", GAPS)
def test_gradients_keep_their_digits_however_far_the_largest_logit_stands_out(gap):
    gradients = []
    for attend, dtype in ((attentive_sum_of_entries, torch.float32), (attentive_sum_of_entries_reference, torch.float64)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in hundred_entries(gap)]
        mixture = torch.randn(101, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
        gradients.append(torch.autograd.grad((each_left_out_once(*leaves, attend) * mixture).sum(), leaves))
    for found, expected in zip(*gradients, strict=True):
        # Sums over a hundred askers of numbers near 1: about a hundred roundings of 6e-8 each.
        torch.testing.assert_close(found.double(), expected, rtol=5e-5, atol=5e-5)


@pytest.mark.parametrize("shift", [-160.0, -60.0, 60.0])
def test_shifting_all_logits_scales_a_smoothed_sum_by_what_no_longer_cancels(shift):
    value_ED, logit_T = hundred_entries(5)
    found = each_left_out_once(value_ED, logit_T + shift, smoothing=0.5).double()
    unshifted = each_left_out_once(value_ED.double(), logit_T.double(), smoothing=0.5)
    # Single precision knows a logit of 160 to 2e-5, and the sums are near 10.
    assert (found / np.exp(0.5 * shift) - unshifted).abs().max() < 1e-3


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_with_equal_logits_wherever_a_place_is_named_it_is_the_sum_by_places(smoothing):
    generator = torch.Generator().manual_seed(1)
    rows = Ragged.of([[0, 2, 3], [], [1], [0, 1, 2, 3]], 4)
    value_ED, logit_E = torch.randn(4, 3, generator=generator), torch.randn(4, generator=generator)
    row_B, left_out_B = torch.tensor([0, 0, 1, 2, 2, 3, 3]), torch.tensor([-1, 1, -1, -1, 3, 4, 7])
    found = attentive_sum_of_entries(value_ED, logit_E[rows.index], rows, row_B, left_out_B, smoothing=smoothing)
    torch.testing.assert_close(found, attentive_sum(value_ED, logit_E, rows, row_B, left_out_B, smoothing=smoothing))


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
@pytest.mark.parametrize(("list_", "left_out"), [([0], 0), ([], -1)], ids=["emptied", "empty"])
def test_where_nothing_is_left_the_sum_is_zeros_and_so_are_its_gradients(list_, left_out, smoothing):
    value_ED, logit_T = torch.ones(1, 3, requires_grad=True), torch.full((len(list_),), 50.0, requires_grad=True)
    asked = torch.tensor([0]), torch.tensor([left_out])
    pooled = attentive_sum_of_entries(value_ED, logit_T, Ragged.of([list_], 1), *asked, smoothing=smoothing)
    gradients = torch.autograd.grad(pooled.sum() + 0.0 * logit_T.sum(), (value_ED, logit_T))
    assert pooled.tolist() == [[0.0, 0.0, 0.0]]
    assert [gradient.abs().sum().item() for gradient in gradients] == [0.0, 0.0]


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_an_empty_list_is_zeros_however_large_the_logits_of_others_are(smoothing):
    value_ED, logit_T = torch.ones(1, 3, requires_grad=True), torch.tensor([100.0], requires_grad=True)
    asked = torch.tensor([0, 1]), torch.tensor([-1, -1])
    pooled = attentive_sum_of_entries(value_ED, logit_T, Ragged.of([[0], []], 1), *asked, smoothing=smoothing)
    assert pooled[1].tolist() == [0.0, 0.0, 0.0]
    assert all(torch.isfinite(part).all() for part in torch.autograd.grad(pooled.sum(), (value_ED, logit_T)))


def test_of_two_equal_entries_without_either_the_other_is_left():
    asked = torch.tensor([0, 0, 0]), torch.tensor([0, 1, -1])
    pooled = attentive_sum_of_entries(torch.tensor([[1.0], [2.0]]), torch.zeros(2), Ragged.of([[0, 1]], 2), *asked)
    assert pooled.tolist() == [[2.0], [1.0], [1.5]]


def test_two_lists_may_weigh_the_same_place_differently():
    logit_T = torch.tensor([0.0, 0.0, 100.0, 0.0])
    rows = Ragged.of([[0, 1], [0, 1]], 2)
    pooled = attentive_sum_of_entries(torch.tensor([[1.0], [3.0]]), logit_T, rows, torch.tensor([0, 1]), torch.tensor([-1, -1]))
    assert pooled.tolist() == [[2.0], [1.0]]


def test_no_rows_and_no_askers_give_empty_results():
    assert attentive_sum_of_entries(torch.ones(2, 3), torch.ones(0), Ragged.of([], 2), NOBODY, NOBODY).shape == (0, 3)
    assert attentive_sum_of_entries(torch.ones(2, 3), torch.ones(1), Ragged.of([[0]], 2), NOBODY, NOBODY).shape == (0, 3)


def test_gradients_are_the_same_bits_every_time():
    generator = torch.Generator().manual_seed(1)
    rows = Ragged.of([range(200)] * 20, 200)
    row_B = torch.randint(20, (20_000,), generator=generator)
    left_out_B = rows.start[row_B] + torch.randint(200, (20_000,), generator=generator)
    leaves = [torch.randn(*size, generator=generator).requires_grad_() for size in ((200, 32), (4000,))]
    mixture = torch.randn(20_000, 32, generator=generator)

    def gradients():
        return torch.autograd.grad((attentive_sum_of_entries(*leaves, rows, row_B, left_out_B) * mixture).sum(), leaves)

    first = gradients()
    assert all(torch.equal(found, same) for _ in range(4) for found, same in zip(gradients(), first, strict=True))
