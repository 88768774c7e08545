"""Who is told apart from whom: the pairs of a comparison as sentences, as a matrix and as a table, in HTML."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from attlas.evaluation.comparison import Comparison
from attlas.evaluation.naming import metric_name
from attlas.page.frame import plain_table, region
from attlas.page.results import deciding_pairs, pairs_by_names


def duels(comparison: Comparison) -> list[str]:
    """The pairs that matter in sentences, then all of them; nothing where there is no pair."""
    if not comparison.pairs:
        return []
    said = "".join(f"<li>{escape(pair.sentence())}.</li>" for pair in deciding_pairs(comparison))
    return [f'<ul class="sentences">{said}</ul>', _matrix(comparison), _numbers(comparison)]


def percent(share: float) -> str:
    """A share as a signed percentage; a dash where it is not defined."""
    return "–" if math.isnan(share) else f"{100 * share:+.1f} %".replace("-", "−")


def p_text(value: float) -> str:
    """A p-value as a person reads it."""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def _matrix(comparison: Comparison) -> str:
    names = [each.name for each in comparison.ranked]
    found = pairs_by_names(comparison)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names[1:])
    rows = []
    for place, above in enumerate(names[:-1]):
        cells = [_cell(found.get(frozenset((above, below))), above) for below in names[place + 1 :]]
        rows.append(f'<tr><th scope="row">{escape(above)}</th>{"<td></td>" * place}{"".join(cells)}</tr>')
    relation = "row better than column" if comparison.is_error else "row above column"
    body = f'<thead><tr><th scope="col">{relation}</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
    return region(f'<table class="standings matrix">{body}</table>', label="How far each model is above each other")


def _cell(pair: Any, above: str) -> str:
    if pair is None:
        return "<td>–</td>"
    share = percent(pair.relative if pair.above == above else -pair.relative)
    kind = "told-apart" if pair.is_significant else "alike"
    said = "not tested" if pair.single else p_text(pair.p_value) + ("" if pair.is_significant else ", n.s.")
    return f'<td class="{kind}">{share}<small>{escape(said)}</small></td>'


def _numbers(comparison: Comparison) -> str:
    name = metric_name(comparison.metric)
    columns = ("above", "below", f"{name} by", "95 % interval", "relative", "adjusted p", "verdict")
    rows = [
        {
            "above": pair.above,
            "below": pair.below,
            f"{name} by": f"{pair.difference:.4f}",
            "95 % interval": f"{pair.low:.4f} to {pair.high:.4f}".replace("-", "−"),
            "relative": f"{percent(pair.relative)} ± {percent(pair.relative_half).lstrip('+')}",
            "adjusted p": "–" if pair.single else f"{pair.p_value:.3g}",
            "verdict": _verdict(pair),
        }
        for pair in comparison.pairs
    ]
    table = plain_table(columns, rows, label="Every pair of models")
    return f'<details class="more"><summary>Every pair in numbers</summary>{table}</details>'


def _verdict(pair: Any) -> str:
    if pair.single:
        return f"not tested: {' and '.join(pair.single)} under one seed"
    return "significant" if pair.is_significant else "not significant"
