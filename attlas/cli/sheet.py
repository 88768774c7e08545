"""A sheet of facts and bars for a terminal of 80 columns or a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attlas.data.suspecting import percent
from attlas.memory import readable_bytes

if TYPE_CHECKING:
    from attlas.data.datasets import Dataset
    from attlas.data.describing import Description, Spread

WIDTH = 80
EIGHTHS = " ▏▎▍▌▋▊▉"


def dataset_lines(dataset: Dataset) -> list[str]:
    """A public set, in full."""
    sizes = [f"{count:,} {noun}" for noun in ("users", "items", "rows") if (count := getattr(dataset, noun))]
    lines = [bold(f"{dataset.name}: {dataset.title}")]
    described = [("size", ", ".join(sizes) or "not known"), ("columns", dataset.columns), ("terms", dataset.terms)]
    lines += facts([*described, ("cite", dataset.citation), ("page", dataset.page), ("note", dataset.note)])
    for source in dataset.files:
        size = f" ({readable_bytes(source.bytes)})" if source.bytes else ""
        lines += head(source.name + size)
        checked = source.checksum or "none known; the first fetch notes one, and later ones are held against it"
        address = source.address or f"no public source is known; put the file into {dataset.default_folder()}"
        lines += facts([("from", address), ("checksum", checked), ("unpacked", ", ".join(source.members))])
    return [*lines, "", f"attlas data fetch {dataset.name}"]


def description_lines(found: Description) -> list[str]:
    """What a person should know before training, facts first and suspicions last."""
    lines = [bold(found.source), *facts(_sizes(found)), "", *_spreads(found)]
    shares = [(f"{percent(float(top), 0)} of items", share, percent(share)) for top, share in found.top_items.items()]
    lines += [*head("How much the most popular items hold"), *bars(shares, top=1.0)]
    for title, histogram in (("Ratings", found.ratings), ("Over time", found.times)):
        if histogram:
            lines += [*head(title), *bars([(one.label, one.rows, f"{one.rows:,}") for one in histogram])]
    lines += head("Worth a look" if found.findings else "Nothing looks wrong")
    for finding in found.findings:
        lines += wrapped(finding.sentence, "  - ")
    return lines


def _sizes(found: Description) -> list[tuple[str, str]]:
    # repeats have a line of their own
    left = [f"{n:,} {why}" for why, n in (found.dropped or {}).items() if n and not why.startswith("repeats")]
    repeated = (
        f"{found.repeats:,}, {percent(found.repeat_share)} of the rows, choose an item again; the latest of each was kept"
    )
    return [
        ("rows", f"{found.rows:,} read, {found.pairs:,} kept"),
        ("left out", "; ".join(left)),
        ("read as", "; ".join(found.notes)),
        ("parts", ", ".join(f"{name} {rows:,}" for name, rows in (found.parts or {}).items())),
        ("users", f"{found.users:,}; {found.single_users:,} of them with one row"),
        ("items", f"{found.items:,}; {found.rare_items:,} of them with fewer than 5 rows"),
        ("filled", f"{percent(found.filled, 3)} of all pairs of user and item"),
        ("repeats", repeated if found.repeats else "none"),
        ("time", f"{found.first} to {found.last}" if found.first else "not known"),
        ("busiest", f"1 % of the users hold {percent(found.top_users)} of the rows"),
    ]


def _spreads(found: Description) -> list[str]:
    def line(name: str, one: Spread) -> str:
        return f"  {name:14}{one.median:>10,.1f}{one.mean:>12,.1f}{one.p90:>12,.1f}{one.max:>12,}"

    titles = f"  {'':14}{'median':>10}{'mean':>12}{'90th of 100':>12}{'most':>12}"
    return [titles, line("rows per user", found.per_user), line("rows per item", found.per_item)]


def head(text: str) -> list[str]:
    """A line for what follows, with one empty line above."""
    return ["", bold(text)]


def bold(text: str) -> str:
    """Bold on a terminal, plain in a pipe."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def facts(pairs: Iterable[tuple[str, str]], *, indent: int = 2) -> list[str]:
    """A line or more for each name and value, the values under one another."""
    pairs = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in pairs), default=0)
    lines = []
    for name, value in pairs:
        start = " " * indent + name.ljust(width) + "  "
        lines += wrapped(value, start)
    return lines


def wrapped(text: str, start: str) -> list[str]:
    """A text after a start, its later lines under its first; addresses and commands stay whole."""
    rest = " " * len(start)
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def bars(rows: Sequence[tuple[str, float, str]], *, top: float | None = None, room: int = 40, indent: int = 2) -> list[str]:
    """A bar for each label, length and text; ``top`` is the length that fills the room, by default the longest."""
    top = top or max((length for _, length, _ in rows), default=0) or 1
    width = max((len(label) for label, _, _ in rows), default=0)
    texts = max((len(text) for _, _, text in rows), default=0)
    room = min(room, WIDTH - indent - width - texts - 2)
    drawn = [(label, bar(length / top, room), text) for label, length, text in rows]
    return [f"{' ' * indent}{label.rjust(width)} {line.ljust(room)} {text.rjust(texts)}" for label, line, text in drawn]


def bar(share: float, room: int) -> str:
    """Blocks for a share of the room in 0..1, or ``#`` where there are none; what is more than nothing shows."""
    full = "█"
    if not _can_show(full):
        return "#" * max(round(min(share, 1.0) * room), 1 if share > 0 else 0)
    eighths = max(round(min(share, 1.0) * room * 8), 1 if share > 0 else 0)
    return full * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
