"""The page as a person meets it: a real browser, a real service, a small film club."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import attlas
from attlas.data.inputs import Inputs
from attlas.data.labelled import Layout, read_examples
from attlas.data.vocabulary import Vocabulary
from attlas.models.ease import EASE
from attlas.recommender import Recommender
from attlas.web import schemas
from attlas.web.app import create_app
from attlas.web.assets import POLICY
from attlas.web.gate import Limits
from tests import test_guests
from tests.page.html import HOSTILE, Elements
from tests.test_fields_run import frame
from tests.toy import chosen_by
from tests.web.browsing import LAPTOP, PHONE, browsing, lacking, serving

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "")

MARKED = "f4"  # the film whose title is markup
PATIENT = Limits(timeout_seconds=300)  # a kernel may have to be compiled


@pytest.fixture(scope="module")
def runs() -> dict[str, Recommender]:
    """Two models of one club, one of which attends, one with communities; AFM, and FM with user fields, on labelled rows."""
    club = attlas.simulate(80, 40, seed=3, num_interactions=900).interactions
    titles = pl.when(club.items.ids == MARKED).then(pl.lit(HOSTILE)).otherwise(pl.col("title"))
    films = Vocabulary(club.items.ids, club.items.columns.with_columns(titles.alias("title")), noun="item")
    club = replace(club, items=films)
    rows = read_examples(frame(), Layout(item_fields=("taste",), numbers=("warmth",), bags=("tags",)))
    described = read_examples(test_guests.frame(), test_guests.LAYOUT)
    tiny, solver = {"embedding_dim": 4, "attention_dim": 3}, {"batch_size": 64, "learning_rate": 0.03}
    return {
        "ease": attlas.fit(club, model="ease", config={"l2": 10.0}),
        "nais": attlas.fit(club, model="nais", config={**tiny, "smoothing": 1.0}, epochs=2),
        "fawmf": attlas.fit(club, model="fawmf", epochs=2),
        "afm": attlas.fit(rows, "afm", config=tiny, solver=solver, epochs=3),
        "fm": attlas.fit(described, "fm", config={"embedding_dim": 4}, solver=solver, epochs=3),
    }


@pytest.fixture(scope="module")
def url(runs: dict[str, Recommender]) -> Iterator[str]:
    with serving(create_app(runs, limits=PATIENT)) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


class Visit:
    """A page that was opened, and everything that went wrong or went elsewhere on it."""

    def __init__(self, browser: Any, url: str, **choices: Any):
        self.url, self.amiss, self.asked = url, [], []
        self.context = browser.new_context(**{"viewport": LAPTOP, **choices})
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda said: self.amiss.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.amiss.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.amiss.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, state: str = "") -> Any:
        """The page in a state, ranked and with all its reasons."""
        self.page.goto(f"{self.url}/#{state}")
        return self.settled()

    def settled(self) -> Any:
        """The page when nothing more is asked for."""
        self.page.locator("#status", has_text="anked in").wait_for()
        self.page.wait_for_load_state("networkidle")
        return self.page

    def elsewhere(self) -> list[str]:
        """Requests to any other place than this service."""
        return [asked for asked in self.asked if not asked.startswith((self.url, "blob:", "data:"))]


@contextmanager
def visiting(browser: Any, url: str, **choices: Any) -> Iterator[Visit]:
    """A visit on which nothing went wrong and nothing left this host."""
    visit = Visit(browser, url, **choices)
    yield visit
    visit.context.close()
    assert not visit.amiss
    assert not visit.elsewhere()


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Visit]:
    with visiting(browser, url) as visit:
        yield visit


def titles_in(page: Any, model: str = "") -> list[str]:
    """The titles of a list as they are seen."""
    lists = page.locator(".list").filter(has=page.locator(f"h2:text-is('{model}')")) if model else page.locator(".list")
    return [re.sub(r" also \d+ in \w+$", "", text) for text in lists.locator(".item .film").all_inner_texts()]


def edit(page: Any, deed: Any) -> int:
    """Change the history, wait until the list is ranked anew, and return the milliseconds that the page says it took."""
    page.evaluate("document.getElementById('status').textContent = ''")
    deed()
    page.locator("#status", has_text="Re-ranked in").wait_for()
    return int(re.search(r"Re-ranked in (\d+) ms", page.locator("#status").inner_text())[1])


def test_a_user_is_found_by_typing_and_their_list_is_that_of_recommend(visit: Visit, runs: dict[str, Recommender]) -> None:
    page = visit.open()
    page.get_by_role("combobox", name="Find a user").fill("m17")
    page.get_by_role("option", name="m17").first.click()
    page.get_by_role("heading", name="History of m17").wait_for()
    visit.settled()
    assert titles_in(page) == runs["ease"].recommend(["m17"], 10)["title"].to_list()
    why = runs["ease"].explain("m17", runs["ease"].recommend(["m17"], 1)["item"][0], top=20)
    page.locator(".reason").first.filter(has_text="because").wait_for()  # reasons come after the list
    assert f"{why.title}: {page.locator('.reason').first.inner_text()}" == why.sentence()


def test_a_stranger_types_films_and_gets_the_list_of_recommend_for(visit: Visit, runs: dict[str, Recommender]) -> None:
    page = visit.open()
    names = runs["ease"].items.titles_of([8, 9])
    for name in names:
        page.get_by_role("combobox", name="Add to the history").fill(name.lower()[:-1])
        edit(page, page.get_by_role("option", name=name).first.click)
    history = [runs["ease"].items.ids_of([place])[0] for place in (8, 9)]
    assert sorted(page.locator(".cell .what").all_inner_texts()) == sorted(f"{name}added" for name in names)
    assert titles_in(page) == runs["ease"].recommend_for(history, 10)["title"].to_list()
    assert "from the history" in page.locator(".way").inner_text()


def test_nobody_gets_what_is_popular_and_hears_so(visit: Visit, runs: dict[str, Recommender]) -> None:
    page = visit.open()
    page.get_by_role("combobox", name="Find a user").fill("<b>zz</b>")
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Nobody here is called <b>zz</b>: this is what is popular.").wait_for()
    assert titles_in(page) == runs["ease"].recommend(["zz"], 10, unknown="popular")["title"].to_list()


def test_an_item_taken_out_re_ranks_the_list_within_200_ms_and_undo_brings_it_back(
    visit: Visit, runs: dict[str, Recommender]
) -> None:
    run = runs["ease"]
    page = visit.open("user=m17")
    before = titles_in(page)
    history = run.inputs.train.by_user[run.users.index_of(["m17"])].indices
    milliseconds = []
    for left in (4, 3, 2):  # the quickest of three, since this machine may have other work
        milliseconds.append(edit(page, page.locator(".cell .small").first.click))
        assert page.locator(".cell").count() == len(history) - 5 + left
    assert 0 < min(milliseconds) <= 200
    visit.settled()
    gone = set(page.locator(".gone s").all_inner_texts())
    kept = [
        id_ for id_, title in zip(run.items.ids_of(history), run.items.titles_of(history), strict=True) if title not in gone
    ]
    held_out = set(page.locator(".more li").all_text_contents())
    expected = [title for title in run.recommend_for(kept, 40)["title"] if title not in held_out][:10]
    assert titles_in(page) == expected != before
    for _ in range(3):
        edit(page, page.get_by_role("button", name="Undo the last change of the history").click)
    assert titles_in(page) == before
    assert page.locator(".gone").count() == 0


def test_what_moved_is_marked_with_its_steps_in_words_and_signs(visit: Visit) -> None:
    page = visit.open("user=m17")
    before = {title: rank for rank, title in enumerate(titles_in(page), start=1)}
    edit(page, page.locator(".cell .small").nth(2).click)
    marks = 0
    for now, row in enumerate(page.locator(".ranked > li").all(), start=1):
        then, move = before.get(row.locator(".film").inner_text()), row.locator(".move")
        said = move.text_content() if move.count() else ""
        expected = "new" if then is None else "" if then == now else f"{'▲' if then > now else '▼'} {abs(then - now)}"
        assert said.startswith(expected)
        assert bool(said) == bool(expected)
        assert ("up" in said, "down" in said) == ("▲" in expected, "▼" in expected)
        marks += bool(said)
    assert marks


def test_a_chosen_item_heats_the_history_by_its_attention(visit: Visit, runs: dict[str, Recommender]) -> None:
    page = visit.open("user=m17&model=nais")
    page.locator(".item").nth(1).click()
    page.locator(".cell .heaviest").wait_for()
    item = runs["nais"].recommend(["m17"], 2)["item"][1]
    weights = dict(runs["nais"].explain("m17", item).history.select("title", "weight").iter_rows())
    heat = page.eval_on_selector_all(
        ".cell",
        "cells => cells.map(cell => [cell.querySelector('.what').firstChild.textContent, "
        "Number(cell.querySelector('.heat').style.getPropertyValue('--heat'))])",
    )
    most = max(weights.values())
    assert dict(heat) == pytest.approx({title: w / most for title, w in weights.items()}, abs=1e-3)
    assert [value for _, value in heat] == sorted((value for _, value in heat), reverse=True)
    assert page.locator(".cell").first.locator(".heaviest").count() == 1 == page.locator(".cell .heaviest").count()
    assert "attention" in page.locator(".legend").inner_text()
    assert "Method: attention" in page.locator(".why").inner_text()
    assert page.locator(".weights").count() == 0
    page.get_by_role("checkbox", name="Numbers").check()
    assert page.locator(".weights").count() == len(weights)


def test_two_models_stand_side_by_side_with_lists_and_reasons_of_their_own(visit: Visit, runs: dict[str, Recommender]) -> None:
    page = visit.open("user=m17")
    page.get_by_role("combobox", name="Beside it").select_option("nais")
    page.locator(".list").nth(1).locator(".item").first.wait_for()
    for name in ("ease", "nais"):
        assert titles_in(page, name) == runs[name].recommend(["m17"], 10)["title"].to_list()
    boxes = [one.bounding_box() for one in page.locator(".list").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.locator(".item").first.click()
    page.locator(".why .sentence").nth(1).wait_for()
    methods = [re.search(r"Method: (\w+)", text)[1] for text in page.locator(".why").all_inner_texts()]
    assert methods == ["contribution", "attention"]
    assert page.locator(".cell").first.locator(".heat").count() == 2


def test_what_is_known_of_the_moment_changes_the_list_of_a_model_of_fields(visit: Visit, runs: dict[str, Recommender]) -> None:
    visit.page.route("**/api/explain", lambda route: route.fulfill(json=WHY))
    page = visit.open("user=u3&model=afm&seen=1")
    for hour in ("1", "2"):
        edit(page, lambda hour=hour: page.get_by_label("hour").select_option(hour))
        expected = runs["afm"].recommend(["u3"], 10, context={"hour": int(hour)}, exclude_seen=False)
        assert titles_in(page) == expected["title"].to_list()
    edit(page, page.get_by_label("red").check)
    edit(page, lambda: (page.get_by_label("warmth").fill("0.5"), page.keyboard.press("Enter")))
    said = {"hour": 2, "warmth": 0.5, "tags": ["red"]}
    expected = runs["afm"].recommend(["u3"], 10, context=said, exclude_seen=False)
    assert titles_in(page) == expected["title"].to_list()
    assert page.locator(".way").inner_text().startswith("Answered as: known user. ")


def test_the_reasons_of_a_stranger_are_those_of_the_moment_that_the_list_is_for(
    visit: Visit, runs: dict[str, Recommender]
) -> None:
    page = visit.open("model=afm&said.hour=2")
    best = runs["afm"].recommend_for([], 1, features={"hour": 2})["item"][0]
    page.locator(".item").first.click()
    page.locator(".why .sentence").wait_for()
    why = runs["afm"].explain(None, best, history=[], features={"hour": 2})
    assert f"{why.title}: {page.locator('.why .sentence').inner_text()}" == why.sentence()
    assert "Method: pairs" in page.locator(".why").inner_text()
    assert "answered as: unknown user" in page.locator(".why").inner_text()


def test_a_field_of_strangers_that_is_set_for_somebody_known_is_said_not_to_be_heard(
    visit: Visit, runs: dict[str, Recommender]
) -> None:
    page = visit.open("user=u3&model=fm&seen=1")
    edit(page, lambda: page.get_by_label("taste", exact=True).select_option("even"))
    assert page.locator(".way").inner_text().startswith("taste: heard of strangers only. Answered as: known user")
    assert titles_in(page) == runs["fm"].recommend(["u3"], 10, exclude_seen=False)["title"].to_list()
    page.get_by_role("button", name="Be a stranger").click()
    page.get_by_role("heading", name="A stranger's history").wait_for()
    visit.settled()
    edit(page, lambda: page.get_by_label("taste", exact=True).select_option("even"))
    assert "heard of strangers" not in page.locator(".way").inner_text()
    expected = runs["fm"].recommend_for([], 10, features={"taste": "even"}, exclude_seen=False)
    assert titles_in(page) == expected["title"].to_list()


QUESTION = """async (count) => {
  const { questionOf } = await import("/page/asker.js");
  const rows = (length) => Array.from({ length }, (_, item) => ({ item, title: String(item) }));
  const facts = { name: "ease", context: [], features: [], serves_strangers: true, unknown: [] };
  const person = { isKnown: true, title: "m1", trained: rows(2), heldOut: rows(count) };
  const state = { seen: false, said: {}, user: "m1", with: [], without: ["0"] };
  return questionOf(facts, state, person, rows(1)).body.k;
}"""


def test_no_more_is_asked_for_than_the_service_gives_however_much_was_held_out(visit: Visit) -> None:
    page = visit.open()
    assert page.evaluate(QUESTION, 3) == 13
    assert page.evaluate(QUESTION, 1500) == schemas.MOST_ANSWERS


PAIRS = [
    {"field": "hour", "feature": "2", "other_field": "item", "other": "i2", "attention": 0.5, "score": 2, "contribution": 1.0},
    {"field": "user", "feature": "u3", "other_field": "hour", "other": "2", "contribution": -0.25},
]
WHY: dict[str, Any] = {
    "model": "afm",
    "item": "i2",
    "title": "i2",
    "score": 1.5,
    "way": "known user",
    "method": "pairs",
    "sentence": "i2: because",
    "rest": 0.25,
    "note": "a note",
    "unknown": ["warmth"],
    "history": [],
    "audience": [{"user": "u7", "weight": 0.75}],
    "pairs": PAIRS,
    "factors": [{"factor": "dimension 3", "like": ["i4"], "weight": 0.5}],
    "shifts": None,
    "surprises": [{"what": "it", "weight": 2}],
    "exposure": {"chance": 0.125, "preference": 0.5, "communities": [{"community": 4, "membership": 1.0, "exposure": 0.125}]},
}
SAID = ("hour 2 with item i2; attention 50 % × score +2", "u7", "dimension 3, like i4", "13 %", "community 4", "what it")
NOTED = ("Mind: a note.", "Not known: warmth.", "Beside all of these: +0.25.")


def test_every_part_of_an_explanation_is_shown_and_what_is_absent_is_not(visit: Visit) -> None:
    visit.page.route("**/api/explain", lambda route: route.fulfill(json=WHY))
    page = visit.open("user=u3&model=afm&seen=1&item=i2&numbers=1")
    why = page.locator(".why").first
    headings = why.locator("h3").all_inner_texts()
    assert headings == ["Seen, and liked?", "Pairs of features", "Others who chose it", "Factors", "surprises"]
    squares = {one.get_attribute("title"): one.inner_text() for one in why.locator(".square").all()}
    assert squares == {"hour 2 with item i2: +1": "+1", "user u3 with hour 2: −0.25": "−0.25"}
    assert why.locator(".square.heaviest").inner_text() == "+1"
    text = why.inner_text()
    for said in (*SAID, *NOTED):
        assert said in text


def test_communities_and_exposures_are_those_of_fawmf(visit: Visit, runs: dict[str, Recommender]) -> None:
    item = runs["fawmf"].recommend(["m17"], 1)["item"][0]
    page = visit.open(f"user=m17&model=fawmf&item={item}")
    rows = page.locator(".communities tbody tr").all_inner_texts()
    expected = runs["fawmf"].explain("m17", item).exposure.communities
    assert [int(re.search(r"community (\d+)", row)[1]) for row in rows] == expected["community"].to_list()


def test_markup_in_a_title_stays_text(visit: Visit, runs: dict[str, Recommender]) -> None:
    page = visit.open(f"with={MARKED}&beside=nais")
    assert page.locator(".cell .what").first.text_content().startswith(HOSTILE)
    page.get_by_role("combobox", name="Add to the history").fill("script")
    page.locator(".chooser .film").get_by_text(HOSTILE, exact=True).wait_for()
    page.get_by_role("combobox", name="Add to the history").press("Escape")
    page.get_by_role("button", name="Take </script>").click()
    visit.settled()
    assert page.locator("img, script:not([src])").count() == 0


def test_what_one_sees_is_saved_as_one_file_that_opens_by_itself(visit: Visit, tmp_path: Path) -> None:
    page = visit.open(f"user=m17&beside=nais&with={MARKED}")
    page.locator(".item").first.click()
    page.locator(".why .sentence").nth(1).wait_for()
    seen, heats = titles_in(page), page.locator(".heat").count()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as a file").click()
    path = tmp_path / "seen.html"
    download.value.save_as(path)
    elements = Elements(path.read_text())
    assert not any(tag in ("script", "link", "img", "button", "input") for tag, _ in elements.found)
    asked: list[str] = []
    other = visit.context.new_page()
    other.on("request", lambda request: asked.append(request.url))
    other.on("console", lambda said: visit.amiss.append(said.text))
    other.goto(path.as_uri())
    assert asked == [path.as_uri()]
    assert titles_in(other) == seen
    assert other.locator(".heat").count() == heats > 0
    assert other.evaluate("getComputedStyle(document.querySelector('.item .length')).width") != "0px"
    assert other.evaluate("getComputedStyle(document.querySelector('main')).display") == "grid"


def test_what_was_said_of_the_moment_is_saved_as_it_was_said(visit: Visit, tmp_path: Path) -> None:
    page = visit.open("user=u3&model=afm&seen=1&said.hour=2&said.warmth=0.5&said.tags=red")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as a file").click()
    path = tmp_path / "seen.html"
    download.value.save_as(path)
    other = visit.context.new_page()
    other.goto(path.as_uri())
    said = " ".join(other.locator(".context").inner_text().split())
    for one in ("hour 2", "warmth 0.5", "yes: red", "no: blue"):
        assert one in said


STATES = ("", "user=m17&beside=nais&item=f9&numbers=1", "user=m17&model=fawmf&item=f9", "user=u3&model=afm&seen=1")


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("state", STATES)
def test_nothing_is_wider_than_the_screen(browser: Any, url: str, size: dict[str, int], state: str) -> None:
    with visiting(browser, url, viewport=size) as visit:
        assert visit.open(state).evaluate("document.documentElement.scrollWidth") == size["width"]


def test_everything_can_be_done_by_keyboard_alone(visit: Visit) -> None:
    page = visit.open()

    def reach(role: str, name: str) -> None:
        wanted = page.get_by_role(role, name=name, exact=True).first.element_handle()
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("wanted => document.activeElement === wanted", wanted):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"the focus is not seen on {name}"
                return
        pytest.fail(f"{role} {name} is not reached by tabbing")

    reach("combobox", "Find a user")
    page.keyboard.type("m1")
    page.keyboard.press("ArrowDown")
    page.locator("[role=option][aria-selected=true]").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="History of m1").wait_for()
    reach("combobox", "Add to the history")
    page.keyboard.press("ArrowDown")
    page.locator("[role=option][aria-selected=true]").wait_for()
    edit(page, lambda: page.keyboard.press("Enter"))
    count = page.locator(".cell").count()
    reach("button", page.locator(".cell .small").first.get_attribute("aria-label"))
    edit(page, lambda: page.keyboard.press("Enter"))
    assert page.locator(".cell").count() == count - 1
    assert "Take" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    visit.settled()
    page.locator(".item").first.focus()
    page.keyboard.press("Enter")
    page.locator(".cell .heaviest").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.locator(".line .small").first.focus()
    edit(page, lambda: page.keyboard.press("Enter"))
    assert page.evaluate("document.activeElement.id") == "lists", "the item went, and the focus with it"
    page.get_by_role("button", name="Undo the last change of the history").focus()
    for left in (2, 1, 0):
        edit(page, lambda: page.keyboard.press("Enter"))
        at = page.evaluate("document.activeElement.dataset.key ?? document.activeElement.id")
        assert at == ("undo" if left else "past"), "nothing is left to undo, and the focus stays with the history"


def test_the_address_holds_what_is_looked_at_and_going_back_undoes(visit: Visit) -> None:
    page = visit.open("user=m17&beside=nais")
    before = titles_in(page)
    edit(page, page.locator(".cell .small").first.click)
    page.locator(".item").first.click()
    page.locator(".why .sentence").first.wait_for()
    address, shown = page.url, titles_in(page)
    page.goto("about:blank")
    page.goto(address)
    visit.settled()
    assert titles_in(page) == shown
    assert page.locator(".why .sentence").count() == 2
    page.locator(".gone").wait_for()
    visit.open("user=m17&beside=nais")
    edit(page, page.locator(".cell .small").first.click)
    page.evaluate("document.getElementById('status').textContent = ''")
    page.go_back()
    visit.settled()
    assert page.locator(".gone").count() == 0
    assert titles_in(page) == before


def test_a_refusal_of_the_service_is_shown_as_its_sentence(browser: Any, url: str) -> None:
    visit = Visit(browser, url)
    visit.page.route(
        "**/api/recommend-for", lambda route: route.fulfill(status=503, json={"error": "too many are waiting <b>"})
    )
    page = visit.open()
    assert page.locator(".list .missing").inner_text() == "too many are waiting <b>"
    visit.page.route("**/api/search*", lambda route: route.abort())
    page.get_by_role("combobox", name="Find a user").fill("m")
    page.get_by_role("alert").filter(has_text="The service does not answer.").wait_for()
    visit.context.close()


def test_what_kept_a_person_from_being_met_is_said_beside_the_list(browser: Any, url: str) -> None:
    visit = Visit(browser, url)
    visit.page.route("**/api/user/*", lambda route: route.fulfill(status=503, json={"error": "too many are waiting"}))
    page = visit.open("user=m17")
    assert page.get_by_role("alert").inner_text() == "too many are waiting"
    assert page.locator(".item").count() == 10
    visit.page.unroute("**/api/user/*")
    page.get_by_role("button", name="Be a stranger").click()
    page.get_by_role("heading", name="A stranger's history").wait_for()
    assert page.get_by_role("alert").inner_text() == ""
    visit.context.close()


def test_a_token_is_asked_for_and_then_brought(browser: Any, runs: dict[str, Recommender]) -> None:
    token = "a token of the test".replace(" ", "-")
    with serving(create_app({"ease": runs["ease"]}, limits=PATIENT, token=token)) as address:
        visit = Visit(browser, address)
        visit.page.goto(address)
        visit.page.get_by_label("Token of this service").fill(token)
        visit.page.keyboard.press("Enter")
        visit.settled()
        assert len(titles_in(visit.page)) == 10
        assert visit.page.get_by_role("alert").inner_text() == ""
        assert token not in visit.page.url
        visit.context.close()


def test_only_the_pages_own_scripts_may_run(visit: Visit) -> None:
    answer = visit.page.goto(visit.url)
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    visit.settled()
    with pytest.raises(Exception, match="TrustedHTML"):
        visit.page.evaluate("document.body.innerHTML = '<img>'")
    assert visit.amiss
    visit.amiss.clear()


CONTRASTS = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+(e-?\\d+)?/g).map(Number);
    return text.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const heats = [...one.querySelectorAll(":scope > .heats > .heat")];
      if (heats.length) return heats.map((heat) => parse(getComputedStyle(heat).backgroundColor));
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] === 1) return [colour];
    }
    return [[255, 255, 255]];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest(".heard, .skip, noscript, option, :disabled, [hidden]")) continue;
    if (!element.checkVisibility()) continue;
    const ink = light(parse(getComputedStyle(element).color));
    for (const ground of behind(element).map(light)) {
      const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      found.push([ratio, `${element.tagName} ${element.className}: ${walker.currentNode.data.slice(0, 40)}`]);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(browser: Any, url: str, scheme: str) -> None:
    with visiting(browser, url, color_scheme=scheme, reduced_motion="reduce") as visit:
        page = visit.open("user=m17&model=fawmf&beside=nais&item=f9&numbers=1")
        edit(page, page.locator(".cell .small").last.click)
        visit.settled()
        ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 100
    assert min(ratios)[0] >= 4.5, min(ratios)


def test_every_control_and_region_has_a_name(visit: Visit) -> None:
    page = visit.open("user=m17&beside=nais&item=f9")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, fieldset, [role=region], [role=listbox], [tabindex]")]
        .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim()))
        .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    ids = page.eval_on_selector_all("[id]", "found => found.map((one) => one.id)")
    assert len(ids) == len(set(ids))
    assert page.locator("h1").count() == 1


DANGLING = """() => ["aria-labelledby", "aria-controls", "aria-activedescendant"].flatMap((name) =>
  [...document.querySelectorAll(`[${name}]`)].flatMap((one) => one.getAttribute(name).split(" ")))
  .filter((id) => !document.getElementById(id))"""


def test_what_names_another_element_finds_it_though_names_hold_spaces(browser: Any) -> None:
    films = Vocabulary([f"a film {place}" for place in range(4)], noun="item")
    inputs = Inputs(replace(chosen_by([[0, 1], [1, 2], [2]], 4), items=films))
    run = Recommender(EASE(inputs.sizes), inputs, card={"model": {"name": "ease"}})
    with serving(create_app({"my run": run}, limits=PATIENT)) as address, visiting(browser, address) as visit:
        page = visit.open()
        page.locator(".item").first.click()
        page.locator(".why .sentence").wait_for()
        assert page.evaluate(DANGLING) == []
        assert page.locator(".item[aria-controls]").count() == 1
        assert page.get_by_role("region", name="my run (ease)").get_attribute("aria-busy") == "false"


def test_nothing_moves_where_a_person_wants_no_motion(browser: Any, url: str) -> None:
    durations = {}
    for wish in ("reduce", "no-preference"):
        found = (
            "[...new Set([...document.querySelectorAll('*')].map((one) => getComputedStyle(one).transitionDuration))].sort()"
        )
        with visiting(browser, url, reduced_motion=wish) as visit:
            durations[wish] = visit.open("user=m17&item=f9").evaluate(found)
    assert durations == {"reduce": ["0s"], "no-preference": ["0.15s, 0.15s", "0s"]}
