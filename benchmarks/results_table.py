"""How figures stand in docs/results.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def joined(figures: Iterable[str]) -> str:
    """``0.7182 / 0.4511``."""
    return " / ".join(figures)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
