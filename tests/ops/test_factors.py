import itertools

import torch

from attlas.ops.factors import factorise
from attlas.ops.gram import inner_products
from attlas.ops.ragged import Ragged


def test_no_update_makes_the_error_over_the_known_cells_larger_and_no_entry_negative():
    torch.manual_seed(1)
    rows = Ragged.of([[0, 2, 3], [1, 2], [], [0, 1, 2, 3]], 4)
    value_T = torch.randint(1, 6, (9,), dtype=torch.float64)
    tables, errors = (torch.rand(4, 2, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64)), []
    for _ in range(30):
        tables = factorise(*tables, rows, value_T, steps=1)
        errors.append(float((inner_products(*tables, rows) - value_T).square().sum()))
        assert all((table >= 0).all() for table in tables)
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 0.5 * errors[0]


def test_a_matrix_of_rank_one_is_found_from_its_known_cells():
    rows = Ragged.of([[0, 1], [1, 2], [0, 2]], 3)
    value_T = torch.tensor([2.0, 4.0, 2.0, 3.0, 3.0, 9.0], dtype=torch.float64)  # (2, 1, 3) times (1, 2, 3)
    ones = torch.ones(3, 1, dtype=torch.float64)
    left, right = factorise(ones, ones, rows, value_T, steps=200)
    torch.testing.assert_close(left @ right.T, torch.outer(torch.tensor([2.0, 1, 3]), torch.tensor([1.0, 2, 3])).double())
