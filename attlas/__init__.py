"""Recommendation with attentive latent factor models.

import attlas

club = attlas.simulate(seed=1)
recommender = attlas.fit(club.interactions, model="ease")
print(recommender.report)
print(recommender.recommend(["m17"], k=5))
print(recommender.explain("m17", "f42").sentence())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from attlas.process import settle

if TYPE_CHECKING:
    from attlas.auditing.audit import audit as audit
    from attlas.comparing.compare import compare as compare
    from attlas.data.interactions import Interactions as Interactions
    from attlas.data.readers import read as read
    from attlas.data.simulate import simulate as simulate
    from attlas.data.split import Split as Split
    from attlas.data.split import read_split as read_split
    from attlas.data.split import split as split
    from attlas.errors import AttlasError as AttlasError
    from attlas.evaluation.evaluate import evaluate as evaluate
    from attlas.final import fit_final as fit_final
    from attlas.recommender import Recommender as Recommender
    from attlas.recommender import load as load
    from attlas.runner import fit as fit
    from attlas.search.tuning import tune as tune

settle()

_PLACES = {
    "AttlasError": "attlas.errors",
    "Interactions": "attlas.data.interactions",
    "Recommender": "attlas.recommender",
    "Split": "attlas.data.split",
    "audit": "attlas.auditing.audit",
    "compare": "attlas.comparing.compare",
    "evaluate": "attlas.evaluation.evaluate",
    "fit": "attlas.runner",
    "fit_final": "attlas.final",
    "load": "attlas.recommender",
    "read": "attlas.data.readers",
    "read_split": "attlas.data.split",
    "simulate": "attlas.data.simulate",
    "split": "attlas.data.split",
    "tune": "attlas.search.tuning",
}
__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import attlas`` costs nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'attlas' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
