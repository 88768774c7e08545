"""One explanation as a page: its sentence, a bar for each of the heaviest reasons, and the table behind it."""

from __future__ import annotations

from pathlib import Path

from attlas.explanation import METHODS, Explanation
from attlas.page.charts import Chart, blank, figure, title
from attlas.page.frame import Frame, Section, write_frame

SHOWN = 12


def write_why(why: Explanation, path: Path) -> list[str]:
    """Write the page as one HTML file that asks the network for nothing.

    Returns:
        What a person should hear: why charts are missing, if they are.

    Raises:
        ArtefactError: the file cannot be written.
    """
    facts = {"Score": f"{why.score:.4g}", "User": why.way, "Weights": why.method}
    notes = {"Weights": METHODS[why.method]} | ({"Note": why.note} if why.note else {})
    section = Section("standings", "Reasons", [_chart(why)])
    return write_frame(Frame("Why this item", why.title, why.sentence(), [], facts, [section], notes, {}), path)


def _chart(why: Explanation) -> Chart:
    drawn = why.figure(SHOWN)
    bars, axis = drawn["data"][0], drawn["layout"]["yaxis"]
    layout = blank(drawn["layout"]["height"])
    layout["xaxis"] |= {"title": title(METHODS[why.method]), "zeroline": True}
    layout["yaxis"] |= axis | {"showgrid": False}
    rows = [{"reason": row["reason"], "weight": f"{row['weight']:.4g}"} for row in why.reasons.to_dicts()]
    words = f"The heaviest {len(bars['x'])} of {len(rows)}. {why.sentence()}."
    return Chart("What weighs how much", words, figure([bars], layout), ("reason", "weight"), rows, is_wide=True)
