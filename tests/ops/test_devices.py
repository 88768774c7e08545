"""What ops do where there are no kernels; that they do what their twins do is seen in test_twins.py."""

import pytest
import torch

from attlas.errors import ConfigError
from attlas.ops import fields, packed


@pytest.mark.parametrize("readable", ["cpu", "nothing"])
def test_rows_of_one_field_have_no_pairs(readable, monkeypatch):
    monkeypatch.setattr("attlas.ops._numba.READABLE", readable)
    index_B1 = torch.tensor([[0], [2], [0]])
    pairs = fields.distinct_pairs(index_B1)
    assert (pairs.one.tolist(), pairs.other.tolist(), pairs.place.shape) == ([], [], (3, 0))
    assert fields.weighted_pair_sum(torch.ones(3, 2), index_B1, torch.ones(3, 0)).tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("readable", ["cpu", "nothing"])
def test_a_matrix_that_is_not_positive_definite_is_counted(readable, monkeypatch):
    monkeypatch.setattr("attlas.ops._numba.READABLE", readable)
    gram_GP = torch.tensor([[1.0, 0.0, 1.0], [1.0, 2.0, 1.0]])
    with pytest.raises(ConfigError, match="1 of 2 ridge regressions cannot be solved in floats"):
        packed.ridge_packed(gram_GP, torch.ones(2, 2), torch.zeros(2))
