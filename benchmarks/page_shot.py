"""The picture of the README: the page of the service before a film club, EASE beside DELF, as docs/page.png.

    python -m benchmarks.page_shot [PATH]

Everything is made up and seeded; fitting takes a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path

import attlas
from attlas.web.app import create_app
from attlas.web.gate import Limits
from tests.web.browsing import browsing, lacking, serving

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "page.png"
STATE = "model=ease&beside=delf&user=m17&numbers=1"
SIZE = {"width": 1280, "height": 720}


def main(path: Path) -> None:
    """Fit two models, open one item of one user, and take the picture."""
    if said := lacking():
        raise SystemExit(said)
    club = attlas.simulate(200, 100, seed=1).interactions
    delf = attlas.fit(club, model="delf", config={"embedding_dim": 16, "attention_dim": 16, "layers": (16,)}, epochs=8)
    ease = attlas.fit(club, model="ease", config={"l2": 50.0})
    with serving(create_app({"ease": ease, "delf": delf}, limits=Limits(timeout_seconds=300))) as url, browsing() as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        page.goto(f"{url}/#{STATE}")
        page.locator(".item").first.click()
        page.locator(".cell .heaviest").first.wait_for()
        page.wait_for_load_state("networkidle")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=path)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
