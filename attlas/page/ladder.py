"""The tables of a comparison as HTML: one per protocol, since numbers of different protocols do not compare."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from attlas.durations import readable_seconds
from attlas.evaluation.comparison import Comparison, Contender
from attlas.evaluation.naming import metric_name
from attlas.evaluation.protocols import PROTOCOLS
from attlas.page.frame import plain_table, region
from attlas.page.progress import settings_text
from attlas.page.results import Line, Standings, dagger_says, near_best, printed, standings
from attlas.page.standings import meanings

HEAD = '<th scope="col" class="number">{}</th>'
PREDICTED = {
    "rating": "Every held-out rating is predicted.",
    "label": "The label of every held-out row is predicted, as a logit.",
    "target": "Every held-out row is predicted: +1 for label 1, -1 for label 0, and nothing beyond.",
}
CORRECTED = "A corrected metric estimates the one among all items from places among a sample (Krichene and Rendle, 2020)."


def ladder(comparison: Comparison) -> list[str]:
    """A table of standings per protocol, the leading one first, each with the words that belong to it."""
    tables = [standings(comparison, protocol) for protocol in comparison.protocols]
    shown = [_protocol(comparison, table, is_first=place == 0) for place, table in enumerate(tables)]
    said = [meanings([name for name in tables[0].metrics if "corrected" not in name])]
    if any("corrected" in name for table in tables for name in table.metrics):
        said.append(CORRECTED)
    said.append(
        "Bold is the best of a column. Beneath each mean stand ± its standard deviation over seeds, where a model has several, "
        "and its 95 % interval: where the mean would lie with other users like these."
    )
    if near_best(comparison):
        said.append(f"† {dagger_says(comparison)}.")
    return [*shown, f'<p class="aside">{escape(" ".join(said))}</p>', *_skipped(comparison)]


def descriptions(comparison: Comparison) -> list[str]:
    """What tells of the lists without being better or worse: one table per protocol that has it."""
    shown = []
    for protocol in comparison.protocols:
        table = standings(comparison, protocol)
        if table.descriptions:
            said = f'<p class="aside">{escape(meanings(table.descriptions))}</p>'
            shown.append(
                f"<h3>Protocol {escape(protocol)}</h3>{_table(table, table.descriptions, f'Lists under {protocol}')}{said}"
            )
    return shown


def settings_table(comparison: Comparison) -> str:
    """The settings that won, by contender."""
    rows = [
        {"model": each.name, "settings": settings_text(each.experiment), "folder": each.run or "–"}
        for each in comparison.ranked
    ]
    table = plain_table(("model", "settings", "folder"), rows, label="The settings that won")
    return f'<details class="more"><summary>The settings that won, and where the runs lie</summary>{table}</details>'


def seconds_text(value: float) -> str:
    """Seconds as a person reads them, from a tenth to hours."""
    return "under 0.1 s" if value < 0.1 else readable_seconds(value)


def _protocol(comparison: Comparison, table: Standings, *, is_first: bool) -> str:
    known = PROTOCOLS.get(table.protocol)
    said = [f"Every user's held-out items are ranked against {known.meaning}." if known else PREDICTED.get(table.protocol, "")]
    said.append(f"{table.lines[0].report.measured()}.")
    if not is_first:
        said.append(f"These numbers do not compare with those of protocol {comparison.protocols[0]}.")
    near = near_best(comparison) if is_first else frozenset()
    label = f"Standings under {table.protocol}"
    shown = _table(table, table.metrics, label, comparison=comparison if is_first else None, near=near, is_goal=True)
    if table.further:
        more = _table(table, table.further, f"Further metrics under {table.protocol}", is_goal=True)
        shown += f'<details class="more"><summary>Further metrics</summary>{more}</details>'
    head = f'<h3>Protocol {escape(table.protocol)} <span class="code">({escape(table.code)})</span></h3>'
    return f'<div class="protocol">{head}<p class="aside">{escape(" ".join(filter(None, said)))}</p>{shown}</div>'


def _table(
    table: Standings,
    metrics: Sequence[str],
    label: str,
    *,
    comparison: Comparison | None = None,
    near: frozenset[str] = frozenset(),
    is_goal: bool = False,
) -> str:
    """The lines under some metrics, the best of goals in bold; with a comparison also what search and fits found and took."""
    columns = [HEAD.format(escape(metric_name(metric))) for metric in metrics]
    if comparison:
        columns += [HEAD.format(name) for name in ("Validation", "Trials", "Search", "One fit")]
    rows = []
    for line in table.lines:
        cells = [_cell(line, metric, is_best=is_goal and table.is_best(line, metric)) for metric in metrics]
        cells += _costs(line.contender) if comparison else []
        rows.append(f"<tr>{_name(line, comparison, near)}{''.join(cells)}</tr>")
    head = f'<tr><th scope="col">Model</th>{"".join(columns)}</tr>'
    body = f'<table class="standings ladder"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    return region(body, label=label)


def _name(line: Line, comparison: Comparison | None, near: frozenset[str]) -> str:
    tags = ["baseline"] if line.contender.is_baseline else []
    if comparison and comparison.winner == line.name:
        tags.append("best on validation")
    dagger = f'<abbr title="{escape(dagger_says(comparison))}">†</abbr>' if comparison and line.name in near else ""
    note = f"<small>{', '.join(tags)}</small>" if tags else ""
    return f'<th scope="row"><span class="rank">{line.rank}</span>{escape(line.name)}{dagger}{note}</th>'


def _cell(line: Line, metric: str, *, is_best: bool) -> str:
    mean = line.mean(metric)
    if mean is None:
        return '<td class="number">–</td>'
    spread = line.spread(metric)
    shown = f"<strong>{printed(mean.value)}</strong>" if is_best else printed(mean.value)
    seeds = "" if spread is None else f"<small>± {printed(spread)}</small>"
    return f'<td class="number">{shown}{seeds}<small>{printed(mean.low)} to {printed(mean.high)}</small></td>'


def _costs(each: Contender) -> list[str]:
    valid = each.valid.get("value")
    said = "–" if valid is None else f"{valid:.4f}<small>{escape(metric_name(each.valid.get('metric', '')))}</small>"
    search = seconds_text(each.search_seconds) if each.tried else "–"
    many = f"{len(each.seeds)} seeds" if len(each.seeds) > 1 else "1 seed"
    cells = (said, str(len(each.tried)), search, f"{seconds_text(each.fit_seconds)}<small>{many}</small>")
    return [f'<td class="number">{cell}</td>' for cell in cells]


def _skipped(comparison: Comparison) -> list[str]:
    if not comparison.skipped:
        return []
    said = "".join(f"<li><strong>{escape(each.name)}</strong>: {escape(each.reason)}</li>" for each in comparison.skipped)
    return [f'<h3>Did not take part</h3><ul class="skipped">{said}</ul>']
