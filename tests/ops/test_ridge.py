import numpy as np
import pytest
import torch

from attlas.errors import ConfigError
from attlas.ops import ridge
from attlas.ops.ragged import Ragged


def equations(rows: int = 40, width: int = 30, dim: int = 5, penalty: float = 0.5) -> tuple:
    """Rows of many lengths, the first empty; in double precision."""
    rng = np.random.default_rng(1)
    length = [0, *rng.integers(1, width, rows - 1)]
    pattern = Ragged.of([sorted(rng.permutation(width)[:count].tolist()) for count in length], width)
    entries = len(pattern.index)
    table_ED, half_DD = torch.from_numpy(rng.standard_normal((width, dim))), torch.from_numpy(rng.standard_normal((dim, dim)))
    weight_T, target_T = torch.from_numpy(rng.uniform(0, 2, entries)), torch.from_numpy(rng.uniform(0, 2, entries))
    return table_ED, pattern, weight_T, target_T, half_DD.T @ half_DD, torch.full((rows,), penalty, dtype=torch.float64)


def test_what_runs_where_there_is_no_kernel_solves_exactly_too(monkeypatch):
    monkeypatch.setattr(ridge, "BLOCK_FLOATS", 500)  # several blocks of several rows
    given = equations()
    solved_GD = given[0].new_empty(40, 5)
    assert ridge._exactly_on_device(*given, solved_GD) == 0
    torch.testing.assert_close(solved_GD, ridge.ridge_rows_reference(*given))


@pytest.mark.parametrize("block_floats", [500, 2**26])  # blocks of three rows and more, and one of all
@pytest.mark.parametrize("steps", [0, 1, 3, 8])
def test_what_runs_where_there_is_no_kernel_takes_the_same_steps(steps, block_floats, monkeypatch):
    monkeypatch.setattr(ridge, "DEVICE_FLOATS", block_floats)
    given = equations()
    begin_GD = torch.linspace(-1, 1, 200, dtype=torch.float64).view(40, 5)
    found_GD = ridge._nearly_on_device(*given, begin_GD, steps)
    expected_GD = ridge.ridge_rows_nearly_reference(*given, begin_GD, steps=steps)
    torch.testing.assert_close(found_GD, expected_GD, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dim", [1, 3, 4, 7, 64])
def test_tables_of_any_width_are_solved(dim):
    given = equations(dim=dim)
    torch.testing.assert_close(ridge.ridge_rows(*given), ridge.ridge_rows_reference(*given))


def test_equations_without_a_solution_are_counted():
    table_ED, pattern, weight_T, target_T, gram_DD, penalty_G = equations()
    with pytest.raises(ConfigError, match="1 of 40 ridge regressions cannot be solved"):
        ridge.ridge_rows(table_ED, pattern, weight_T, target_T, 0 * gram_DD, penalty_G.index_fill(0, torch.tensor([0]), 0.0))
