import numpy as np
import pytest

from attlas.ops.elastic import elastic_net


def gram_of(num_rows: int = 400, num_columns: int = 150) -> np.ndarray:
    """More columns than enter a working set at once, and correlated, so that working sets change."""
    rng = np.random.default_rng(1)
    x = (rng.random((num_rows, 1)) * rng.random((1, num_columns)) > 0.5).astype(np.float32)
    x = np.maximum(x, rng.random((num_rows, num_columns)) < 0.1)
    return x.T @ x


@pytest.mark.parametrize("non_negative", [True, False])
def test_the_objective_never_rises_from_sweep_to_sweep(non_negative):
    settings = {"l1": 0.5, "l2": 2.0, "non_negative": non_negative, "tolerance": 1e-5}
    gram = gram_of().astype(np.float64)
    reached = np.array([elastic_net(gram, **settings, max_sweeps=sweeps)[1] for sweeps in (1, 2, 3, 5, 8, 13, 30, 1000)])
    assert (np.diff(reached, axis=0) <= 1e-9).all()
    assert (reached[-1] < reached[0]).all()


def test_the_violation_that_is_told_is_that_of_all_weights_and_within_the_tolerance():
    gram = gram_of().astype(np.float64)
    weight, _, told = elastic_net(gram, l1=0.5, l2=2.0, tolerance=1e-3)
    slope = gram - weight @ gram - 2.0 * weight
    violation = np.where(weight > 0, np.abs(slope - 0.5), np.maximum(slope - 0.5, 0.0))
    np.fill_diagonal(violation, 0.0)
    np.testing.assert_allclose(told, violation.max(1) / gram.diagonal(), rtol=0, atol=1e-9)
    assert told.max() <= 1e-3


def test_a_tighter_tolerance_gives_an_objective_as_low_or_lower():
    gram = gram_of()
    loose, tight = (elastic_net(gram, l1=0.5, l2=2.0, tolerance=tolerance)[1] for tolerance in (1e-2, 1e-5))
    assert (tight <= loose + 1e-3).all()
    assert tight.sum() < loose.sum()


def test_two_runs_give_the_same_bits():
    one, other = (elastic_net(gram_of(), l1=0.5, l2=2.0)[0] for _ in range(2))
    assert one.tobytes() == other.tobytes()
