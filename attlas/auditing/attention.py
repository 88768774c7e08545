"""Attention that attends to nothing, or to one thing only.

Shapes: V users, G lists, T history entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from attlas.auditing.finding import Finding, graded, percent
from attlas.auditing.measuring import Bench
from attlas.data.inputs import whole
from attlas.models.layers import asked_only
from attlas.models.protocol import asked_by
from attlas.models.reasons import Explaining, reasons_of
from attlas.ops.ragged import Ragged
from attlas.scoring import Scorer

SAMPLE = 2_000  # histories looked at on either side
LEAST = 5  # entries; the weights of shorter histories say little
UNIFORM, ONE_HOT = 1 - 1e-6, 0.05  # of the largest entropy there could be


def of_attention(bench: Bench) -> Iterator[Finding]:
    """The entropy of the weights of each history, as a share of the largest there could be: 1 is a mean, 0 a single entry."""
    scorer = bench.scorer
    assert isinstance(scorer, Scorer)
    model, inputs = scorer.model, scorer.inputs
    if not isinstance(model, Explaining) or reasons_of(model) != "attention":
        return
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for asker, lists in (("user", inputs.user_lists), ("item", inputs.item_lists)):
        long = (lists.length >= LEAST).nonzero().squeeze(-1).cpu().numpy()
        made[asker] = torch.as_tensor(np.sort(rng.permutation(long)[:SAMPLE]), device=inputs.device)
        made[f"{asker}_history"] = asked_only(whole(lists, made[asker]))
    names = asked_by(model, "attention")
    if "item_history" not in names:  # weights that depend on what is asked about: each list is asked about some item
        made["item"] = torch.as_tensor(rng.integers(0, inputs.sizes.num_items, len(made["user"])), device=inputs.device)
    with torch.inference_mode():
        weights = model.attention(**{name: made[name] for name in names})
    for name, weight_T in weights.items():
        entropy = _entropies(weight_T.double().cpu(), made[name].lists)
        if len(entropy):
            yield _judged(bench, name, entropy)


def _judged(bench: Bench, name: str, entropy: np.ndarray) -> Finding:
    mean = float(entropy.mean())
    is_flat, is_peaked = mean > UNIFORM, mean < ONE_HOT
    said = (
        f"the attention of {name} has {100 * mean:.4g} % of the largest entropy there could be, in the mean over "
        f"{len(entropy):,} histories"
    )
    if is_flat:
        said += ": it weighs all entries alike"
    elif is_peaked:
        said += ": it sees one entry and forgets the rest"
    return Finding(
        "collapsed-attention" if is_flat or is_peaked else "attention-entropy",
        graded(float(is_flat or is_peaked), warning=1),
        bench.name,
        said,
        mean,
        "a plain mean would give the same scores, and explanations by weights explain nothing"
        if is_flat
        else "scores and explanations hang on one entry, and a user with many tastes has one"
        if is_peaked
        else f"{percent(float((entropy > 0.99).mean()))} of the histories are within 1 % of a plain mean",
        "compare with the model's mean-pooled variant; larger learning rates or embeddings at the start may wake it"
        if is_flat
        else "look at the range of the logits; a penalty on them or a smaller start spreads the weights"
        if is_peaked
        else "compare with a mean before claiming that attention helps",
    )


def _entropies(weight_T: torch.Tensor, lists: Ragged) -> np.ndarray:
    """-sum p log p / log n of each list with enough entries, in 0..1; weights are scaled to sum to 1."""
    owner_T, length_G = lists.owner.cpu(), lists.length.cpu()
    total_G = torch.zeros(lists.count, dtype=torch.float64).index_add(0, owner_T, weight_T)
    share_T = weight_T / total_G[owner_T].clamp_min(1e-300)
    entropy_G = -torch.zeros_like(total_G).index_add(0, owner_T, torch.special.xlogy(share_T, share_T))
    long = length_G >= LEAST
    found: np.ndarray = (entropy_G[long] / length_G[long].double().log()).numpy()
    return found
