"""Threads that answer: how many, how many wait, and for how long."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numba
import pytest

from attlas.awaiting import go_on
from attlas.web.app import create_app
from attlas.web.gate import Limits
from attlas.web.workers import TooBusy, TooSlow, Workers, turn_of
from tests.web.asking import Client, asking, club_run


class Held:
    """A deed that takes until it is let go."""

    def __init__(self) -> None:
        self.let_go, self.begun = threading.Event(), 0

    def __call__(self) -> str:
        self.begun += 1
        self.let_go.wait(30)
        return "done"

    async def has_begun(self, times: int) -> None:
        """Wait until it was begun so often; a busy machine takes its time to start a thread."""
        until = time.monotonic() + 30
        while self.begun < times:
            assert time.monotonic() < until
            await asyncio.sleep(0.005)


def test_a_deed_returns_or_raises_through_the_workers() -> None:
    async def asked() -> None:
        workers = Workers(1, 1, 30.0)
        assert await workers.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 // 0)
        assert await workers.run(numba.get_num_threads) == 1
        workers.close()

    asyncio.run(asked())


def test_beyond_those_at_work_and_those_that_wait_nobody_is_let_in_until_one_is_done() -> None:
    async def asked() -> None:
        workers, held = Workers(2, 1, 30.0), Held()
        let_in = [asyncio.create_task(workers.run(held)) for _ in range(3)]
        await held.has_begun(2)
        with pytest.raises(TooBusy, match="too many requests are waiting"):
            await workers.run(held)
        assert held.begun == 2
        held.let_go.set()
        assert await asyncio.gather(*let_in) == ["done"] * 3
        assert await workers.run(held) == "done"
        workers.close()

    asyncio.run(asked())


def test_a_late_deed_that_was_waiting_is_not_begun_and_gives_its_place_back() -> None:
    async def asked() -> None:
        workers, held = Workers(1, 1, 0.5), Held()
        tasks = [asyncio.create_task(workers.run(held)) for _ in range(2)]
        late = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in late] == [TooSlow, TooSlow]
        assert "no answer within 0.5 seconds" in str(late[0])
        assert held.begun == 1
        held.let_go.set()
        workers.timeout_seconds = 30.0
        assert await workers.run(lambda: "next") == "next"
        assert held.begun == 1
        workers.close()

    asyncio.run(asked())


class InSteps:
    """A deed of many steps, which asks between them whether to go on; it ends by itself, should nobody stop it."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        try:
            for _ in range(1000):
                time.sleep(0.01)
                go_on()
        finally:
            self.ended.set()
        return "done"


def test_a_late_deed_that_was_begun_ends_at_its_next_step_and_gives_its_thread_back() -> None:
    async def asked() -> None:
        workers, long = Workers(1, 1, 0.5), InSteps()
        with pytest.raises(TooSlow, match=r"no answer within 0\.5 seconds"):
            await workers.run(long)
        workers.timeout_seconds = 5.0
        assert await workers.run(lambda: "next") == "next"
        assert long.ended.is_set()
        assert await workers.run(lambda: go_on() or "in time") == "in time"
        workers.close()

    asyncio.run(asked())


def test_what_is_being_computed_at_the_close_ends_at_its_next_step() -> None:
    async def asked() -> None:
        workers, long = Workers(1, 1, 300.0), InSteps()
        task = asyncio.create_task(workers.run(long))
        while not long.begun.is_set():
            await asyncio.sleep(0.01)
        workers.close()
        with pytest.raises(TooSlow):
            await task

    asyncio.run(asked())


def test_reasons_that_take_long_keep_no_list_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    held, run = Held(), club_run()
    monkeypatch.setattr(run, "explain", lambda user, item: held())
    app = create_app({"ease": run}, limits=Limits(threads=1, waiting=1, timeout_seconds=30.0))

    async def asked(client: Client) -> None:
        reasons = [asyncio.create_task(client.http.post("/api/explain", json={"user": "m17", "item": "f1"})) for _ in range(3)]
        await held.has_begun(1)
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)  # one too many is refused at once
        assert (await client.http.post("/api/recommend", json={"user": "m17"})).status_code == 200
        held.let_go.set()
        assert sorted([(await one).status_code for one in reasons]) == [500, 500, 503]  # "done" is no explanation

    with asking(app) as client:
        client.runner.run(asked(client))
    assert held.begun == 2


@pytest.mark.parametrize(("layer", "at_once"), [("omp", 2), ("workqueue", 1)])
def test_threads_take_turns_where_parallel_loops_bear_one_caller_at_a_time(
    layer: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba, "threading_layer", lambda: layer)

    async def asked() -> None:
        turn, held = turn_of(), Held()
        one, other = (Workers(1, 0, 30.0, turn) for _ in range(2))
        both = [asyncio.create_task(workers.run(held)) for workers in (one, other)]
        await held.has_begun(at_once)
        await asyncio.sleep(0.1)  # time for one too many
        assert held.begun == at_once
        held.let_go.set()
        assert await asyncio.gather(*both) == ["done"] * 2
        one.close()
        other.close()

    asyncio.run(asked())


def test_the_service_says_503_and_when_to_come_back_where_it_is_too_busy_or_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    held, run = Held(), club_run()
    monkeypatch.setattr(run, "answers", lambda *_, **__: iter([held()]))
    app = create_app({"ease": run}, limits=Limits(threads=1, waiting=0, timeout_seconds=0.2))

    async def both(client: Client) -> list[Any]:
        ask = [client.http.post("/api/recommend", json={"user": "m17"}) for _ in range(2)]
        return await asyncio.gather(*ask)

    with asking(app) as client:
        answers = client.runner.run(both(client))
        assert [answer.status_code for answer in answers] == [503, 503]
        assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
        said = sorted(answer.json()["error"][:12] for answer in answers)
        assert said == ["no answer wi", "too many req"]
        assert client.get("/health").status_code == 200
        held.let_go.set()


def test_what_breaks_inside_is_a_500_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = club_run()
    monkeypatch.setattr(run, "similar_items", lambda *_: 1 // 0)
    with asking(create_app({"ease": run})) as client:
        answer = client.post("/api/similar", item="f10")
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service failed at this request; its log says where"}
