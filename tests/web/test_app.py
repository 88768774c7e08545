"""The service's answers, asked in this process."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from attlas.data.inputs import Inputs
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError
from attlas.models.ease import EASE
from attlas.recommender import Recommender
from attlas.web import schemas
from attlas.web.app import create_app
from attlas.web.gate import Limits
from tests import toy
from tests.web.asking import Client, asking, club_run, fields_run, two_runs

PATIENT = Limits(timeout_seconds=300)  # a kernel may have to be compiled


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with asking(two_runs()) as client:
        yield client


def items_of(frame: Any) -> list[dict[str, Any]]:
    """The rows of a recommender's frame as the service writes them."""
    return frame.select("rank", "item", "title", "score").to_dicts()


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"k": 40},
        {"k": 3, "exclude_seen": False},
        {"k": 5, "candidates": ["f3", "f9", "f14"]},
        {"k": 2, "unknown": "popular"},
    ],
)
def test_one_users_list_is_that_of_recommend(choices: dict[str, Any], client: Client) -> None:
    for user in ("m17", "m3", "m79"):
        expected = club_run().recommend([user], **choices)
        answer = client.post("/api/recommend", user=user, **choices).json()
        assert answer["items"] == items_of(expected)
        assert [answer["way"]] * len(expected) == expected["way"].to_list()
        assert (answer["model"], answer["user"], answer["title"]) == ("ease", user, user)


def test_an_unknown_user_gets_what_is_popular_where_asked_for(client: Client) -> None:
    answer = client.post("/api/recommend", user="nobody", unknown="popular", k=4).json()
    assert answer["way"] == "popular"
    assert answer["user"] == "nobody"
    assert answer["items"] == items_of(club_run().recommend(["nobody"], 4, unknown="popular"))


def test_a_batch_is_the_lists_of_its_users_in_their_order(client: Client) -> None:
    users = ["m5", "m2", "m5"]
    lists = client.post("/api/batch", users=users, k=3).json()["lists"]
    assert [one["user"] for one in lists] == users
    for one, user in zip(lists, users, strict=True):
        assert {"model": "ease", **one} == client.post("/api/recommend", user=user, k=3).json()
        assert one["items"] == items_of(club_run().recommend([user], 3))


def test_a_strangers_list_is_that_of_recommend_for(client: Client) -> None:
    answer = client.post("/api/recommend-for", history=["f4", "f10"], k=6).json()
    assert answer["items"] == items_of(club_run().recommend_for(["f4", "f10"], 6))
    assert answer["way"] == "from the history"
    assert client.post("/api/recommend-for", history=[], k=2).json()["way"] == "popular"


def test_a_context_is_told_to_a_run_of_fields(client: Client) -> None:
    said = {"hour": 2, "warmth": 0.5, "tags": ["red", "blue"]}
    answer = client.post("/api/recommend", model="fm", user="u1", k=3, context=said).json()
    assert answer["items"] == items_of(fields_run().recommend(["u1"], 3, context=said))
    assert answer["way"] == "known user"


def test_an_explanation_is_that_of_explain_with_its_sentence(client: Client) -> None:
    answer = client.post("/api/explain", user="m17", item="f10", top=2).json()
    why = club_run().explain("m17", "f10", top=2)
    assert answer == {"model": "ease", "sentence": why.sentence(), **why.to_dict()}
    stranger = client.post("/api/explain", history=["f1", "f2"], item="f10").json()
    assert stranger["history"] == club_run().explain(None, "f10", history=["f1", "f2"]).to_dict()["history"]


def test_what_is_said_of_a_stranger_is_told_to_the_reasons_too(client: Client) -> None:
    said = {"hour": 2, "tags": ["red"]}
    answer = client.post("/api/explain", model="fm", history=[], item="i3", features=said).json()
    why = fields_run().explain(None, "i3", history=[], features=said)
    assert answer == {"model": "fm", "sentence": why.sentence(), **why.to_dict()}
    assert (answer["way"], answer["method"], answer["unknown"]) == ("unknown user", "pairs", ["warmth"])


def test_similar_items_are_those_of_similar_items(client: Client) -> None:
    answer = client.post("/api/similar", item="f10", k=4).json()
    assert answer["items"] == items_of(club_run().similar_items("f10", 4))
    assert answer["item"] == "f10"


def test_a_users_history_holds_all_their_rows_the_latest_first(client: Client) -> None:
    run = club_run()
    answer = client.get("/api/user/m17").json()
    user = int(run.users.index_of(["m17"])[0])
    assert {row["item"] for row in answer["history"]} == set(run.items.ids_of(run.chosen.by_user[[user]].indices))
    times = [row["time"] for row in answer["history"]]
    assert times == sorted(times, reverse=True)
    held_out = {row["item"] for row in answer["history"] if row["held_out"]}
    assert held_out == set(run.items.ids_of(run.seen.item[run.seen.user == user]))
    assert len(client.get("/api/user/m17", limit=2).json()["history"]) == 2


@pytest.mark.parametrize("user", ["u/3==", "a b/../c?d"])
def test_an_id_may_hold_what_a_path_is_made_of(user: str) -> None:
    inputs = Inputs(replace(toy.chosen_by([[0, 2], [1]], 3), users=Vocabulary([user, "u1"], noun="user")))
    run = Recommender(EASE(inputs.sizes), inputs, card={"model": {"name": "ease"}})
    with asking(create_app({"ease": run}, limits=PATIENT)) as client:
        answer = client.get(f"/api/user/{quote(user, safe='')}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["user"] == user
        assert [row["item"] for row in answer.json()["history"]] == ["i0", "i2"]


def test_a_search_finds_titles_and_ids_in_any_case_most_chosen_first(client: Client) -> None:
    titles = club_run().items.titles_of(np.arange(40))
    found = client.get("/api/search", kind="item", q="DOORMAN").json()
    assert found["total"] == sum("doorman" in title.lower() for title in titles) > 1
    counts = [one["count"] for one in found["found"]]
    assert counts == sorted(counts, reverse=True)
    assert client.get("/api/search", kind="item", q="f2").json()["found"][0]["id"] == "f2"
    assert client.get("/api/search", kind="user", q="m79").json()["found"][0]["id"] == "m79"
    assert client.get("/api/search", kind="item", q=".*").json() == {"model": "ease", "kind": "item", "total": 0, "found": []}
    assert len(client.get("/api/search", kind="item", limit=7).json()["found"]) == 7


def test_models_say_what_they_are_and_what_may_be_said_to_them(client: Client) -> None:
    ease, fm = client.get("/api/models").json()["models"]
    assert (ease["name"], ease["model"], ease["users"], ease["items"]) == ("ease", "ease", 80, 40)
    assert ease["explains"] == "contribution"
    assert ease["serves_strangers"]
    assert ease["context"] == []
    assert [field["name"] for field in fm["context"]] == ["hour", "warmth", "tags"]
    assert sorted(fm["context"][0]["categories"]) == [0, 1, 2, 3]
    assert fm["context"][1]["categories"] is None
    assert "learned" in fm["unknown"]


@pytest.mark.parametrize("name", ["ease", "ials", "mf", "delf", "dacr", "fm", "biased_mf", "popularity"])
def test_ids_are_those_of_the_data_whichever_model_answers(name: str) -> None:
    run = toy.fitted(name)
    with asking(create_app({name: run}, limits=PATIENT)) as client:
        answer = client.post("/api/recommend", user="u3", k=5).json()
        assert answer["items"] == items_of(run.recommend(["u3"], 5))
        why = client.post("/api/explain", user="u3", item="i5").json()
        assert why["item"] == "i5"
        assert schemas.Explained.model_validate(why).sentence
        assert client.post("/api/similar", item="i5", k=3).status_code == 200
        assert client.post("/api/recommend-for", history=["i1", "i3"]).status_code == 200


def await_ready(client: Client) -> None:
    until = time.monotonic() + 120
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert client.get("/ready").json() == {"status": "ready"}


def test_readiness_comes_when_all_is_warm() -> None:
    told: list[str] = []
    with asking(create_app({"ease": club_run()}, when_ready=lambda: told.append("ready")), warm=True) as client:
        assert client.get("/health").json() == {"status": "alive"}
        assert client.get("/ready").json() == {"status": "warming up"}
        await_ready(client)
        assert told == ["ready"]


def test_the_docs_list_every_path_and_need_nothing_from_elsewhere(client: Client) -> None:
    page, document = client.get("/docs").text, client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["openapi.json"]
    assert "whole number of 1 to 1,000; 10 where left out" in page
    assert "list of 1 to 256, each text of 1 to 256 or whole number" in page


def test_what_a_model_cannot_do_does_not_keep_it_from_getting_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(history: Any, k: int = 10, *, exclude_seen: bool = True) -> Any:
        raise ConfigError("not with this model")

    run = club_run()
    monkeypatch.setattr(run, "recommend_for", refuse)
    with asking(create_app({"ease": run}), warm=True) as client:
        await_ready(client)
        answer = client.post("/api/recommend-for", history=["f1"])
        assert (answer.status_code, answer.json()) == (422, {"error": "not with this model"})
