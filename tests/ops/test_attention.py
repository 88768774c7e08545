import pytest
import torch

from attlas.ops import attention


@pytest.mark.parametrize("logits", [1, 7, 20, 1000])
def test_attention_does_not_depend_on_how_many_rows_stand_in_a_block(logits, monkeypatch):
    torch.manual_seed(1)
    given = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((9, 3), (5, 3), (5, 2))]
    expected_GE = torch.softmax(0.7 * given[0] @ given[1].T, dim=-1) @ given[2]
    mixture_GE = torch.randn(9, 2, dtype=torch.float64)
    expected = torch.autograd.grad((expected_GE * mixture_GE).sum(), given)
    monkeypatch.setattr(attention, "LOGITS_AT_ONCE", logits)
    found_GE = attention.attend(*given, scale=0.7)
    torch.testing.assert_close(found_GE, expected_GE)
    torch.testing.assert_close(torch.autograd.grad((found_GE * mixture_GE).sum(), given), expected)
