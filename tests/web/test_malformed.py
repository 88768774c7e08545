"""Whatever is sent, the service answers with a sentence and never fails."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, openapi

from attlas.data.inputs import Inputs
from attlas.models.ease import EASE
from attlas.recommender import Recommender
from attlas.web.app import create_app
from tests.toy import chosen_by
from tests.web.asking import Client, asking, two_runs
from tests.web.hostile import ODD_PATHS, ODD_VALUES, Request, by_chance, by_hand

REFUSED = {400, 401, 404, 405, 408, 413, 422}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with asking(two_runs()) as client:
        yield client


def test_odd_requests_made_by_hand_are_answered_or_refused_with_a_sentence(client: Client) -> None:
    some = list(by_hand())
    kept = [*some[::7], *some[-3 * len(ODD_PATHS) :]]
    refused = sum(_is_refused(client, request) for request in kept)
    assert refused > 0.9 * len(kept) > 400


def test_bodies_spoilt_by_chance_are_answered_or_refused_with_a_sentence(client: Client) -> None:
    refused = sum(_is_refused(client, request) for request in itertools.islice(by_chance(1), 300))
    assert 150 < refused < 300


@pytest.mark.parametrize("name", ["hour", "warmth", "tags"])
def test_odd_values_of_a_field_are_answered_or_refused_with_a_sentence(name: str, client: Client) -> None:
    bodies = ['{"user": "u1", "model": "fm", "context": {"' + name + '": ' + value + "}}" for value in ODD_VALUES]
    asked = [Request("POST", "/api/recommend", body.encode("utf-8", "surrogatepass")) for body in bodies]
    refused = sum(_is_refused(client, request) for request in asked)
    assert 0 < refused < len(asked)


def _is_refused(client: Client, request: Request) -> bool:
    headers = {"Content-Type": request.kind.encode("latin-1")} if request.kind else {}
    answer = client(request.method, request.path, content=request.body, headers=headers)
    assert answer.status_code in REFUSED | {200}, (request.method, request.path, request.body[:200], answer.text)
    if answer.status_code != 200 and request.method != "HEAD":
        said = json.loads(answer.content.decode("ascii"))
        assert said.keys() == {"error"}
        assert 5 < len(said["error"]) < 700
    return answer.status_code != 200


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("recommend", {"user": "nobody"}, "user 'nobody' is not among the 80 known users"),
        ("recommend", {"user": "m17", "candidates": ["f1", "zzz"]}, "item 'zzz' is not among the 40 known items"),
        ("recommend", {"user": "m17", "model": "eas"}, "no model 'eas' is served here; did you mean 'ease'?"),
        ("recommend", {"user": True}, "user: an id is a text of 1 to 256 characters, or a whole number of 64 bits"),
        ("recommend", {"user": "m17", "k": 0}, "k: Input should be greater than or equal to 1"),
        ("recommend", {"user": "m17", "k": "5"}, "k: Input should be a valid integer"),
        ("recommend", {"user": "m17", "K": 5}, "K: Extra inputs are not permitted"),
        ("recommend", {"user": "m17", "context": {"hour": 2}}, "knows no context"),
        ("recommend", {"user": "u1", "model": "fm", "context": {"hours": 2}}, "did you mean 'hour'?"),
        (
            "recommend",
            {"user": "u1", "model": "fm", "context": {"warmth": ["a"]}},
            "takes one number, and a list of values came",
        ),
        (
            "recommend",
            {"user": "u1", "model": "fm", "context": {"hour": [1, 2]}},
            "takes one category, and a list of values came",
        ),
        ("recommend", {"user": "m17", "unknown": "learned"}, "expected 'error' or 'popular'"),
        ("recommend", {}, "user: Field required"),
        ("recommend-for", {"history": ["f1", 2.5]}, "history.1: an id is a text"),
        ("recommend-for", {"history": [7]}, "item 7 is not among the 40 known items"),
        ("explain", {"item": "f1"}, "give either a user or the history of a stranger: exactly one of them"),
        ("explain", {"item": "f1", "user": "m17", "history": ["f2"]}, "exactly one of them"),
        ("explain", {"item": "f1", "history": ["f2"] * 2501}, "history: List should have at most 2500 items"),
        ("explain", {"item": "f1", "history": [], "features": {"age": 9}}, "knows no features of users"),
        ("batch", {"users": []}, "users: List should have at least 1 item"),
        ("similar", {"item": "zzz"}, "item 'zzz' is not among the 40 known items"),
    ],
)
def test_a_refusal_says_what_came_and_what_was_expected(path: str, body: dict[str, Any], sentence: str, client: Client) -> None:
    answer = client.post(f"/api/{path}", **body)
    assert answer.status_code in (404, 422)
    assert sentence in answer.json()["error"]


INPUTS = Inputs(chosen_by([[0, 1], [1, 2]], 3))
# What the service says of itself is the same whatever it serves, so that nothing has to be fitted to collect the tests.
DESCRIBED = create_app({"ease": Recommender(EASE(INPUTS.sizes), INPUTS, card={"model": {"name": "ease"}})})
SCHEMA = openapi.from_dict(copy.deepcopy(DESCRIBED.openapi()))
SCHEMA.app = DESCRIBED
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


CASES = [
    pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
    for operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters
]  # of a path that takes nothing, nothing can be wrong


def test_what_the_service_says_of_itself_does_not_depend_on_what_it_serves() -> None:
    assert two_runs().openapi() == DESCRIBED.openapi()


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_its_own_description_holds_for(operation: Any, mode: Any, client: Client) -> None:
    """Requests that the OpenAPI document allows or forbids: status and body are among those that it describes."""

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        said = case.as_transport_kwargs(base_url="http://localhost")
        wanted = {name: said[name] for name in ("headers", "params", "cookies") if said.get(name)}
        content = said.get("data") if said.get("json") is None else json.dumps(said["json"]).encode()
        answer = client(said["method"], said["url"], content=content, **wanted)
        assert answer.status_code in REFUSED | {200} or (case.path == "/ready" and answer.status_code == 503), answer.text
        if str(answer.status_code) in operation.definition.raw["responses"]:
            operation.validate_response(answer)

    holds()
