"""A comparison as tables for papers, pages, programs and the terminal; numbers of different protocols never share a column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.comparison import Comparison, Contender
from attlas.evaluation.naming import counted, metric_name
from attlas.page.results import Line, Standings, chosen, dagger_says, deciding_pairs, near_best, printed, standings

IN_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "*": "{*}",  # at the start of a row either would belong to the \\ before it
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
IN_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", **{sign: f"\\{sign}" for sign in "\\`*_[]|~#$"}}
COSTS = ("Validation", "Trials", "Search", "One fit")


def rows(comparison: Comparison, protocol: str) -> list[dict[str, Any]]:
    """One row per contender under one protocol, best first, for the terminal.

    Raises:
        ConfigError: nobody was measured under it, or their numbers do not compare.
    """
    table = standings(comparison, protocol)
    lead, *beside = table.metrics
    found = []
    for line in table.lines:
        mean, each = line.mean(lead), line.contender
        row: dict[str, Any] = {"rank": line.rank, "model": line.name}
        row[metric_name(lead)] = _with_spread(line, lead)
        row["95 % interval"] = "" if mean is None else f"{printed(mean.low)} to {printed(mean.high)}"
        row |= {metric_name(name): line.value(name) for name in beside}
        row |= {"valid": each.valid.get("value"), "trials": len(each.tried), "fit s": f"{each.fit_seconds:,.1f}"}
        found.append(row | {"search s": f"{each.search_seconds:,.1f}" if each.tried else "–"})
    return found


def sentences(comparison: Comparison) -> list[str]:
    """Who won on validation and what that reached, the pairs that matter, and who did not take part."""
    said = [chosen(comparison), *(f"{pair.sentence()}." for pair in deciding_pairs(comparison))]
    return said + [f"{each.name} did not take part: {each.reason}" for each in comparison.skipped]


def markdown(comparison: Comparison) -> str:
    """One table per protocol; the best of a column bold, what no test puts below it marked with a dagger."""
    parts = []
    for protocol in comparison.protocols:
        sheet = _sheet(comparison, protocol)
        marked = [[_markdown_name(line), *map(_in_markdown, cells)] for line, cells in sheet.lines]
        head = [_escape(column, IN_MARKDOWN) for column in sheet.columns]
        rule = [":--", *("--:" for _ in head[1:])]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *marked)))
        parts.append(_caption(comparison, sheet, dagger="†", escape=lambda text: _escape(text, IN_MARKDOWN)))
    return "\n\n".join(parts) + "\n"


def latex(comparison: Comparison) -> str:
    r"""One ``table`` per protocol in the manner of booktabs; the best of a column bold, what no test puts below it
    marked with ``\dagger``, baselines in italics.
    """
    return "% \\usepackage{booktabs}\n" + "\n".join(_latex_table(comparison, code) for code in comparison.protocols)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Everything, ready for JSON; what is not a finite number is None."""
    found = {
        "metric": comparison.metric,
        "protocols": list(comparison.protocols),
        "winner": comparison.winner,
        "ranked": [each.name for each in comparison.ranked],
        "contenders": [_contender(each) for each in comparison.contenders],
        "skipped": [asdict(each) for each in comparison.skipped],
        "pairs": [asdict(pair) | {"sentence": pair.sentence()} for pair in comparison.pairs],
        "activity": _breakdown(comparison.activity),
        "findings": comparison.findings,
        "data": comparison.data,
        "budget": comparison.budget,
        "seconds": comparison.seconds,
        "versions": comparison.versions,
        "sentences": sentences(comparison),
    }
    return {name: _plain(value) for name, value in found.items()}


class _Cell(NamedTuple):
    """One number of a printed table and what marks it."""

    text: str
    spread: str = ""
    is_best: bool = False
    is_near: bool = False


class _Sheet(NamedTuple):
    """One printed table before it is written in a language."""

    table: Standings
    columns: list[str]
    lines: list[tuple[Line, list[_Cell]]]


def _sheet(comparison: Comparison, protocol: str) -> _Sheet:
    table = standings(comparison, protocol)
    is_first = protocol == comparison.protocols[0]
    near = near_best(comparison) if is_first else frozenset()
    lines = []
    for line in table.lines:
        cells = [_cell(table, line, name, is_near=name == comparison.metric and line.name in near) for name in table.metrics]
        lines.append((line, cells + (_costs(line.contender) if is_first else [])))
    return _Sheet(table, ["Model", *map(metric_name, table.metrics), *(COSTS if is_first else ())], lines)


def _cell(table: Standings, line: Line, metric: str, *, is_near: bool) -> _Cell:
    value, spread = line.value(metric), line.spread(metric)
    if value is None:
        return _Cell("–")
    return _Cell(printed(value), "" if spread is None else printed(spread), table.is_best(line, metric), is_near)


def _costs(each: Contender) -> list[_Cell]:
    valid = each.valid.get("value")
    seconds = (f"{each.search_seconds:,.1f} s" if each.tried else "–", f"{each.fit_seconds:,.1f} s")
    return [_Cell(text) for text in ("–" if valid is None else printed(valid), str(len(each.tried)), *seconds)]


def _caption(comparison: Comparison, sheet: _Sheet, *, dagger: str, escape: Callable[[str], str]) -> str:
    first = sheet.lines[0][0]
    seeds = max(len(line.contender.seeds) for line, _ in sheet.lines)
    source = comparison.data.get("source", "one split")
    over = first.report.measured() if comparison.by_rows else f"{len(first.report.users):,} users"
    said = [escape(f"{source} ({sheet.table.code}): means over {over} and up to {counted(seeds, 'seed')}")]
    if any(cell.spread for _, cells in sheet.lines for cell in cells):
        said.append("the standard deviation over seeds behind each")
    said.append("the best of a column is bold")
    if any(cell.is_near for _, cells in sheet.lines for cell in cells):
        said.append(f"{dagger} {dagger_says(comparison)} (paired tests over users, Holm)")
    return f"{'; '.join(said)}. {escape(f'Budget of every search: {comparison.budget}.')}"


def _in_markdown(cell: _Cell) -> str:
    value = f"**{cell.text}**" if cell.is_best else cell.text
    return f"{value}{'†' if cell.is_near else ''}{f' ± {cell.spread}' if cell.spread else ''}"


def _markdown_name(line: Line) -> str:
    return _escape(line.name, IN_MARKDOWN) + (" (baseline)" if line.contender.is_baseline else "")


def _in_latex(cell: _Cell) -> str:
    value = rf"\textbf{{{cell.text}}}" if cell.is_best else cell.text.replace("–", "--")
    spread = rf" {{\scriptsize$\pm${cell.spread}}}" if cell.spread else ""
    return value + (r"$^\dagger$" if cell.is_near else "") + spread


def _latex_table(comparison: Comparison, protocol: str) -> str:
    sheet = _sheet(comparison, protocol)
    caption = _caption(comparison, sheet, dagger=r"$\dagger$", escape=lambda text: _escape(text, IN_LATEX))
    if any(line.contender.is_baseline for line, _ in sheet.lines):
        caption += " Baselines are in italics."
    body = [[_latex_name(line), *map(_in_latex, cells)] for line, cells in sheet.lines]
    head = [_escape(column, IN_LATEX) for column in sheet.columns]
    said = [
        r"\begin{table}", r"  \centering", rf"  \caption{{{caption}}}",
        rf"  \label{{tab:compare-{re.sub('[^a-z0-9]+', '-', protocol.lower())}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"    \toprule", _latex_row(head), r"    \midrule",
        *map(_latex_row, body), r"    \bottomrule", r"  \end{tabular}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(said) + "\n"


def _latex_name(line: Line) -> str:
    name = _escape(line.name, IN_LATEX)
    return rf"\textit{{{name}}}" if line.contender.is_baseline else name


def _latex_row(cells: Sequence[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


def _escape(text: str, signs: Mapping[str, str]) -> str:
    """Text of which no sign means anything in a language; a break of lines becomes a space."""
    return "".join(signs.get(sign, sign) for sign in " ".join(text.split()))


def _with_spread(line: Line, metric: str) -> str:
    value, spread = line.value(metric), line.spread(metric)
    return "" if value is None else printed(value) + ("" if spread is None else f" ± {printed(spread)}")


def _contender(each: Contender) -> dict[str, Any]:
    reports = {}
    for protocol in each.reports[0]:
        pooled = each.pooled(protocol)
        names = [name for name in pooled.per_user if not np.isnan(pooled.per_user[name]).all()]
        reports[protocol] = pooled.to_dict() | {
            "code": str(pooled.code),
            "spread": {name: each.spread(protocol, name) for name in names},
            "by_seed": {name: [report[protocol].mean(name) for report in each.reports] for name in names},
        }
    return {
        "name": each.name,
        "model": each.model,
        "is_baseline": each.is_baseline,
        "settings": each.experiment,
        "valid": each.valid,
        "seeds": each.seeds,
        "reports": reports,
        "trials": each.tried,
        "search_seconds": each.search_seconds,
        "fit_seconds": each.fit_seconds,
        "curve": [epoch._asdict() for epoch in each.curve],
        "popularity": None if each.popularity is None else _breakdown(each.popularity),
        "findings": each.findings,
        "run": each.run,
    }


def _breakdown(found: Breakdown) -> dict[str, Any]:
    means = {name: [mean._asdict() for mean in values] for name, values in found.means.items()}
    return {"groups": found.groups, "counts": found.counts, "means": means}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
