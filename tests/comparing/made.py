"""Comparisons whose numbers are written down, or drawn from a seeded generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.comparison import Comparison, Contender, Skipped
from attlas.evaluation.report import Mean, Report
from attlas.evaluation.significance import Pair
from attlas.training.journal import Epoch

STATES = ("complete", "pruned", "complete", "failed")
LADDER = ("popularity", "itemknn", "ease", "slim", "ials", "mf")


def pair(above: str, below: str, relative: float, *, is_significant: bool) -> Pair:
    """A pair that differs by so much of the lower mean, which is taken to be 0.4."""
    gap, half = 0.4 * relative, 0.005
    p_value = 0.003 if is_significant else 0.4
    return Pair(above, below, "ndcg@10", gap, gap - half, gap + half, relative, half / 0.4, p_value, is_significant)


def report(per_user: Mapping[str, Sequence[float]], protocol: str = "full", split: str = "leave-last-out") -> Report:
    """A report of the test part."""
    values = {name: np.array(value, dtype=float) for name, value in per_user.items()}
    users = np.arange(len(next(iter(values.values()))))
    return Report(protocol, split, "test", (10, 20), users, values, 0, 0, 0.001, (30, 40))


def contender(name: str, *reports: dict[str, Report], is_baseline: bool = False, valid: float = 0.5, **more: Any) -> Contender:
    """A contender with one dictionary of reports per seed."""
    said = {
        "experiment": {"model": {"name": name, "embedding_dim": 64}, "training": {"epochs": 12}},
        "valid": {"metric": "ndcg@10", "value": valid, "epoch": 3},
        "tried": (),
        "curve": (),
        "search_seconds": 12.5,
        "fit_seconds": 1.25,
        "seconds": 20.0,
        **more,
    }
    return Contender(name, name, is_baseline, seeds=tuple(range(1, len(reports) + 1)), reports=reports, **said)


def comparison(contenders: Sequence[Contender], pairs: Sequence[Pair] = (), **more: Any) -> Comparison:
    """Contenders on one made-up split; the winner is who has the best validation value."""
    said = {
        "skipped": (),
        "metric": "ndcg@10",
        "protocols": ("full",),
        "winner": max(contenders, key=lambda each: each.valid["value"]).name,
        "activity": Breakdown(["1–5", "6–9"], [2, 2], {each.name: [Mean(0.2, 0.1, 0.3)] * 2 for each in contenders}),
        "findings": (),
        "data": {
            "source": "purchases.csv",
            "split": "leave-last-out",
            "users": 4,
            "items": 40,
            "train": 90,
            "fingerprint": "f00",
        },
        "budget": "20 trials each",
        "seconds": 75.0,
        "versions": {"attlas": "0.1.0"},
        **more,
    }
    return Comparison(contenders=tuple(contenders), pairs=tuple(pairs), **said)


def drawn(count: int, *, num_users: int = 400, num_seeds: int = 3, names: Sequence[str] = ()) -> Comparison:
    """A comparison of so many contenders under two protocols, all of it drawn."""
    rng = np.random.default_rng(4)
    called = [*LADDER, "delf", "nais", "neumf", "dacr", "drnet", *(f"variant-{place}" for place in range(20))][:count]
    called = [*names, *called][:count]
    level = {name: 0.24 + 0.02 * place - 0.03 * (place % 3) for place, name in enumerate(called)}
    contenders = [_drawn_contender(name, level[name], num_users, num_seeds, rng) for name in called]
    ranked = sorted(contenders, key=lambda each: -each.pooled("full").mean("ndcg@10"))
    pairs = []
    for one, other in combinations(ranked, 2):
        high, low = (each.pooled("full").mean("ndcg@10") for each in (one, other))
        pairs.append(pair(one.name, other.name, (high - low) / low, is_significant=high - low > 0.02))
    groups = Breakdown(["1–8", "9–20", "21–55", "56–812"], [100] * 4, {n: _means(level[n], 0.03) for n in called})
    skipped = (Skipped("expomf", "expomf", "one epoch is expected to take 41 minutes, the budget is 10; give --budget 4h"),)
    return comparison(
        contenders,
        pairs,
        protocols=("full", "ncf"),
        skipped=skipped,
        activity=groups,
        findings=FINDINGS,
        data={"source": "ml-1m-ncf", "split": "given", "users": 6040, "items": 3706,
              "train": 988129, "valid": 6040, "test": 6040, "fingerprint": "1f0c9a7be2d44a11"},
        versions={"attlas": "0.1.0", "torch": "2.9.1", "numpy": "2.3.5"},
    )  # fmt: skip


FINDINGS = (
    {"code": "held-out-among-negatives", "severity": "warning", "subject": "candidates", "size": 0.0258,
     "sentence": "156 of 6,040 users have their held-out item among their own negatives.",
     "effect": "hr@10 0.71 -> 0.70", "advice": "use protocol ncf-clean"},
    {"code": "rank-reversal", "severity": "error", "subject": "all models", "size": 2, "effect": None,
     "sentence": "ease and delf change places between protocol ncf and full.", "advice": "report the full ranking"},
    {"code": "tie-mass", "severity": "info", "sentence": "0.1 % of held-out items tie."},
)  # fmt: skip


def _drawn_contender(name: str, level: float, num_users: int, num_seeds: int, rng: np.random.Generator) -> Contender:
    is_learner = name not in LADDER or name == "mf"
    seeds = num_seeds if is_learner else 1
    curve = tuple(Epoch(n, 0.7 / n, level * (1 - np.exp(-n / 3)) + 0.1 * level * rng.random(), 1.5) for n in range(1, 13))
    tried = tuple(
        {"number": n, "settings": {"solver.penalty": round(float(rng.random()), 3)}, "epoch": 4, "seconds": 2.0,
         "value": None if n % 4 == 3 else level * (0.8 + 0.2 * rng.random()), "state": STATES[n % 4]}
        for n in range(4 if name == "popularity" else 20)
    )  # fmt: skip
    findings = ({"code": "collapsed-attention", "severity": "warning", "subject": name, "sentence": "The attention is uniform.",
                 "size": 0.99, "effect": None, "advice": "raise the learning rate"},) if name == "delf" else ()  # fmt: skip
    reports = [{"full": _drawn_report("full", level, num_users, rng), "ncf": _drawn_report("ncf", 1.5 * level, num_users, rng)}
               for _ in range(seeds)]  # fmt: skip
    return contender(
        name,
        *reports,
        is_baseline=name in LADDER,
        valid=level + 0.01,
        tried=tried,
        curve=curve if is_learner else (),
        search_seconds=float(10 ** (1 + 2 * rng.random())),
        fit_seconds=float(10 ** (-1 + 3 * rng.random())),
        seconds=200.0,
        popularity=Breakdown(["1–40", "41–200", "201–700", "701–3,428"], [1510] * 4, {name: _means(0.6 * level, 0.08)}),
        findings=findings,
        run=f"runs/{name}",
    )  # fmt: skip


def _drawn_report(protocol: str, level: float, num_users: int, rng: np.random.Generator) -> Report:
    ease = np.random.default_rng(7).normal(0, 0.2, num_users)  # what makes a user easy is the same for all

    def values(mean: float) -> np.ndarray:
        return np.clip(mean + ease + rng.normal(0, 0.05, num_users), 0, 1)

    found = {
        "hr@10": values(1.6 * level),
        "ndcg@10": values(level),
        "recall@10": values(1.5 * level),
        "ndcg@20": values(1.1 * level),
    }
    more = {"ndcg@10 corrected": values(0.7 * level)} if protocol == "ncf" else {"novelty@10": 4 + 8 * values(1 - level)}
    return report({name: value.tolist() for name, value in (found | more).items()}, protocol, "given")


def _means(level: float, step: float) -> list[Mean]:
    return [Mean(level + step * place, level + step * place - 0.02, level + step * place + 0.02) for place in range(4)]
