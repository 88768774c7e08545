"""How often two trainings of one model of rows are called different, and how often a better model is found so.

    python benchmarks/row_significance.py [150]

Nothing is trained. Predictions are the truth, a mistake that all trainings of a model share, and one of each training alone,
both partly alike for all rows of a user; users have few rows or many. Three seeds are held against three others. Beside the
test over users stands what one over single rows would say of the same predictions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
from machine import record

from attlas.evaluation.row_pairs import compare_row_pairs
from attlas.evaluation.rows import PARTS, RowReport
from attlas.evaluation.significance import signed_rank_p

USERS, ROWS, SEEDS = 150, 3000, 3
METRICS = {"rmse": "rating", "logloss": "label", "auc": "label"}
SHARED, OWN = 1.0, 0.3  # spread of mistakes that all trainings of a model share, and of one training's own
BETTER = 0.95  # of the shared mistakes of a model, what those of the better one are


def one_draw(number: int, metric: str, shrink: float) -> tuple[bool, bool]:
    """Whether two models are called different: over users, and over rows."""
    rng, task = np.random.default_rng(number), METRICS[metric]
    size_V = rng.lognormal(0, 1, USERS)
    user_N = rng.choice(USERS, ROWS, p=size_V / size_V.sum())
    truth_N = rng.normal(3, 1, ROWS) if task == "rating" else rng.integers(0, 2, ROWS).astype(float)
    centre_N = truth_N if task == "rating" else 2 * truth_N - 1
    shared_N = mistakes(rng, user_N, SHARED)

    scores = {
        name: [centre_N + scale * shared_N + mistakes(rng, user_N, OWN) for _ in range(SEEDS)]
        for name, scale in (("one", 1.0), ("other", shrink))
    }
    reports = {name: [RowReport.of(task, truth_N, score, user_N) for score in each] for name, each in scores.items()}
    (pair,) = compare_row_pairs(reports, metric, random=[*scores])
    adds = {
        name: np.mean([PARTS[task][metric](truth_N, score).value for score in each], axis=0) for name, each in scores.items()
    }
    return pair.is_significant, signed_rank_p(adds["one"] - adds["other"]) < 0.05


def mistakes(rng: np.random.Generator, user_N: np.ndarray, spread: float) -> np.ndarray:
    """Half of the variance is the user's and half the row's."""
    half = spread / 2**0.5
    return rng.normal(0, half, USERS)[user_N] + rng.normal(0, half, len(user_N))


def main() -> None:
    """One line for each metric, of equals and of a better one."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    lines: list[dict[str, Any]] = []
    for metric in METRICS:
        for what, shrink in (("itself", 1.0), ("a better one", BETTER)):
            said = np.array([one_draw(number, metric, shrink) for number in range(count)])
            over_users, over_rows = said.sum(axis=0).tolist()
            lines.append(
                {"what": f"{metric} against {what}", "comparisons": count, "significant": over_users, "by_rows": over_rows}
            )
    data = f"drawn predictions of {ROWS:,} rows of {USERS} users"
    record("row_significance", [{"data": data, "seeds": SEEDS, **line} for line in lines])


if __name__ == "__main__":
    main()
