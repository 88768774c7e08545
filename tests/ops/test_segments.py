import pytest
import torch

from attlas.ops.ragged import Ragged
from attlas.ops.segments import attentive_sum, attentive_sum_reference, segment_softmax, segment_sum, segment_sum_without

GAPS = [5, 8, 10, 12, 14, 16, 18, 20, 40, 60]


def hundred_items(gap: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and logits in float32; entry 37 stands ``gap`` above the best of the rest."""
    generator = torch.Generator().manual_seed(int(gap))
    value_ED = torch.randn(100, 8, generator=generator)
    logit_E = torch.randn(100, generator=generator)
    logit_E[37] = 0.0
    logit_E[37] = logit_E.max() + gap
    return value_ED, logit_E


def each_left_out_once(value_ED: torch.Tensor, logit_E: torch.Tensor, attend=attentive_sum, **options) -> torch.Tensor:
    """Of one list, the sum without its first entry, without its second, .., and at last the whole one."""
    count = len(value_ED)
    rows = Ragged.of([range(count)], count)
    left_out_B = torch.cat([torch.arange(count), torch.tensor([-1])])
    return attend(value_ED, logit_E, rows, torch.zeros_like(left_out_B), left_out_B, **options)


@pytest.mark.parametrize("gap", GAPS)
def test_leaving_an_entry_out_keeps_its_digits_however_far_the_largest_logit_stands_out(gap):
    value_ED, logit_E = hundred_items(gap)
    found = each_left_out_once(value_ED, logit_E)
    expected = each_left_out_once(value_ED.double(), logit_E.double(), attentive_sum_reference)
    error = (found - expected).abs().amax(1)
    assert error[37] < 5e-6, "the row without its largest entry"
    assert error.max() < 5e-6


@pytest.mark.parametrize("gap", GAPS)
def test_gradients_keep_their_digits_however_far_the_largest_logit_stands_out(gap):
    gradients = []
    for attend, dtype in ((attentive_sum, torch.float32), (attentive_sum_reference, torch.float64)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in hundred_items(gap)]
        mixture = torch.randn(101, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
        gradients.append(torch.autograd.grad((each_left_out_once(*leaves, attend) * mixture).sum(), leaves))
    for found, expected in zip(*gradients, strict=True):
        # Sums over a hundred askers of numbers near 1: about a hundred roundings of 6e-8 each.
        torch.testing.assert_close(found.double(), expected, rtol=5e-5, atol=5e-5)


def test_large_logits_do_not_overflow():
    generator = torch.Generator().manual_seed(1)
    value_ED, logit_E = torch.randn(100, 8, generator=generator), 60 + 30 * torch.randn(100, generator=generator)
    found = each_left_out_once(value_ED, logit_E)
    expected = each_left_out_once(value_ED.double(), logit_E.double(), attentive_sum_reference)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("drop", [1, 10, 30, 50, 80, 100, 300, 10_000])
def test_a_list_keeps_its_digits_however_far_it_lies_below_the_largest_logit_of_the_table(drop):
    generator = torch.Generator().manual_seed(drop)
    value_ED, logit_E = torch.randn(12, 4, generator=generator), torch.randn(12, generator=generator)
    logit_E[6:] -= drop
    rows = Ragged.of([range(6), range(6, 12), [0, 7], []], 12)
    row_B, left_out_B = torch.tensor([0, 1, 1, 1, 2, 2, 3]), torch.tensor([-1, -1, 6, 9, 12, 13, -1])
    mixture = torch.randn(7, 4, generator=generator)
    found, expected = [], []
    for results, attend, dtype in ((found, attentive_sum, torch.float32), (expected, attentive_sum_reference, torch.float64)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in (value_ED, logit_E)]
        pooled = attend(*leaves, rows, row_B, left_out_B)
        results += [pooled.detach(), *torch.autograd.grad((pooled * mixture.to(dtype)).sum(), leaves)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-5)


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_a_history_of_one_without_that_one_is_zeros_and_its_gradients_are_zeros(smoothing):
    value_ED, logit_E = torch.ones(1, 3, requires_grad=True), torch.tensor([50.0], requires_grad=True)
    pooled = attentive_sum(value_ED, logit_E, Ragged.of([[0]], 1), torch.tensor([0]), torch.tensor([0]), smoothing=smoothing)
    gradients = torch.autograd.grad(pooled.sum(), (value_ED, logit_E))
    assert pooled.tolist() == [[0.0, 0.0, 0.0]]
    assert [gradient.abs().sum().item() for gradient in gradients] == [0.0, 0.0]


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_an_empty_list_is_zeros_and_its_gradients_are_zeros(smoothing):
    value_ED, logit_E = torch.ones(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)
    pooled = attentive_sum(value_ED, logit_E, Ragged.of([[]], 2), torch.tensor([0]), torch.tensor([-1]), smoothing=smoothing)
    gradients = torch.autograd.grad(pooled.sum(), (value_ED, logit_E))
    assert pooled.tolist() == [[0.0, 0.0, 0.0]]
    assert [gradient.abs().sum().item() for gradient in gradients] == [0.0, 0.0]


def test_of_two_equal_entries_without_either_the_other_is_left():
    value_ED = torch.tensor([[1.0], [2.0]])
    pooled = attentive_sum(value_ED, torch.zeros(2), Ragged.of([[0, 1]], 2), torch.tensor([0, 0, 0]), torch.tensor([0, 1, -1]))
    assert pooled.tolist() == [[2.0], [1.0], [1.5]]


def test_no_rows_and_no_askers_give_empty_results():
    nothing, nobody = Ragged.of([], 2), torch.zeros(0, dtype=torch.int64)
    assert segment_sum(torch.ones(2, 3), nothing).shape == (0, 3)
    assert segment_softmax(torch.ones(2), nothing).shape == (0,)
    assert attentive_sum(torch.ones(2, 3), torch.ones(2), nothing, nobody, nobody).shape == (0, 3)
    assert attentive_sum(torch.ones(2, 3), torch.ones(2), Ragged.of([[0]], 2), nobody, nobody).shape == (0, 3)


def test_a_sum_without_its_only_entry_is_zero_to_the_bit():
    table_ED = torch.tensor([[0.1], [1e8], [-0.3]])
    rows = Ragged.of([[0], [1], [2], []], 3)
    sums = segment_sum_without(table_ED, rows, torch.arange(4), torch.tensor([0, 1, 2, -1]))
    assert sums.tolist() == [[0.0], [0.0], [0.0], [0.0]]


def test_gradients_of_a_sum_without_own_entries_are_the_same_bits_every_time():
    generator = torch.Generator().manual_seed(1)
    rows = Ragged.of([range(200)] * 20, 200)
    row_B = torch.randint(20, (20_000,), generator=generator)
    left_out_B = rows.start[row_B] + torch.randint(200, (20_000,), generator=generator)
    table_ED = torch.randn(200, 32, generator=generator).requires_grad_()
    mixture = torch.randn(20_000, 32, generator=generator)
    runs = [(segment_sum_without(table_ED, rows, row_B, left_out_B) * mixture).sum() for _ in range(5)]
    first, *others = (torch.autograd.grad(run, table_ED)[0] for run in runs)
    assert all(torch.equal(first, other) for other in others)


def test_full_smoothing_makes_the_weights_of_every_list_sum_to_one():
    rows = Ragged.of([[0, 2], [], [1], [0, 1, 2]], 3)
    weight_T = segment_softmax(torch.tensor([3.0, -80.0, 90.0]), rows)
    total = [weight_T[rows.owner == row].sum().item() for row in range(4)]
    assert total == pytest.approx([1.0, 0.0, 1.0, 1.0])


def test_half_smoothing_of_equal_logits_weighs_each_entry_by_one_over_the_root_of_the_length():
    weight_T = segment_softmax(torch.zeros(4), Ragged.of([[0, 1, 2, 3], [2]], 4), smoothing=0.5)
    assert weight_T.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 1.0])


def test_a_pattern_knows_its_lengths_owners_and_places():
    rows = Ragged.of([[0, 2], [], [1, 2]], 3)
    assert (rows.count, rows.length.tolist(), rows.owner.tolist()) == (3, [2, 0, 2], [0, 0, 2, 2])
    assert [part.tolist() for part in rows.transposed] == [[0, 1, 2, 4], [0, 2, 0, 2], [0, 2, 1, 3]]


def test_an_entry_is_found_where_its_row_lists_it_and_nowhere_else():
    rows = Ragged.of([[0, 2], [], [1, 2]], 3)
    row_B, wanted_B = torch.tensor([[row, place] for row in range(3) for place in range(3)]).T
    assert rows.find(row_B, wanted_B).tolist() == [0, -1, 1, -1, -1, -1, -1, 2, 3]


def test_rows_are_taken_in_any_order_and_again_and_without_an_entry():
    rows = Ragged.of([[0, 2], [], [1, 2]], 3)
    again = rows.take(torch.tensor([2, 1, 2]))
    assert (again.start.tolist(), again.index.tolist()) == ([0, 2, 2, 4], [1, 2, 1, 2])
    shorter = rows.take(torch.tensor([2, 0, 2]), without_R=torch.tensor([2, 1, 3]))
    assert (shorter.start.tolist(), shorter.index.tolist()) == ([0, 1, 2, 3], [2, 0, 1])


def test_gradients_are_the_same_bits_every_time():
    generator = torch.Generator().manual_seed(1)
    rows = Ragged.of([range(200)] * 20, 200)
    row_B = torch.randint(20, (50_000,), generator=generator)
    left_out_B = rows.start[row_B] + torch.randint(200, (50_000,), generator=generator)
    leaves = [
        torch.randn(200, 32, generator=generator).requires_grad_(),
        torch.randn(200, generator=generator).requires_grad_(),
    ]
    mixture = torch.randn(50_000, 32, generator=generator)
    runs = [torch.autograd.grad((attentive_sum(*leaves, rows, row_B, left_out_B) * mixture).sum(), leaves) for _ in range(5)]
    assert all(torch.equal(found, first) for run in runs[1:] for found, first in zip(run, runs[0], strict=True))
