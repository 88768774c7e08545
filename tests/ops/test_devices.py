"""What other devices do instead of the kernels, on this one: the same as the twins."""

import numpy as np
import pytest
import torch

from attlas.ops import coordinates, packed
from tests.ops.test_twins import outer_products, ridge_packed, sweep_coordinates


@pytest.mark.parametrize("seed", range(12))
def test_a_sweep_in_lockstep_takes_the_steps_of_the_twin(seed):
    case = sweep_coordinates(np.random.default_rng(seed))
    torch.testing.assert_close(
        coordinates._swept_in_lockstep(*case.values()), coordinates.sweep_coordinates_reference(**case), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("seed", range(12))
def test_packed_matrices_are_made_and_solved_all_at_once_as_by_the_twins(seed):
    table_ED = outer_products(np.random.default_rng(seed))["table_ED"]
    torch.testing.assert_close(packed._multiplied_on_device(table_ED), packed.outer_products_reference(table_ED))
    case = ridge_packed(np.random.default_rng(seed))
    solved_GD, failed = packed._solved_on_device(**case)
    torch.testing.assert_close(solved_GD, packed.ridge_packed_reference(**case))
    assert failed == 0


def test_a_matrix_that_is_not_positive_definite_is_counted():
    gram_GP = torch.tensor([[1.0, 0.0, 1.0], [1.0, 2.0, 1.0]])
    assert packed._solved_on_device(gram_GP, torch.ones(2, 2), torch.zeros(2))[1] == 1
    with pytest.raises(packed.ConfigError, match="1 of 2 ridge regressions cannot be solved in floats"):
        packed.ridge_packed(gram_GP, torch.ones(2, 2), torch.zeros(2))
