"""Predictions under an id by both clients, every method of theirs: submitted, looked at, waited for, listed, cancelled."""

import asyncio
import inspect
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock.client import AsyncClient, Client
from penstock.errors import DeadlineExceeded, InvalidInput, NotFound
from penstock.testing.flights import write_flights, write_store
from penstock.testing.server import ServerProcess

Ask = Callable[..., Any]
ROWS = [{"distance": 3.5, "carrier": "UA"}, {"distance": 7}]


@pytest.fixture(params=["ordinary", "asyncio"])
def asker(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Ask]]:
    """`asker(url)("verb", …)` of either client."""
    with asyncio.Runner() as runner:
        opened: list[Any] = []

        def make(url: str) -> Ask:
            made: Any = Client(url, timeout_s=20) if request.param == "ordinary" else AsyncClient(url, timeout_s=20)
            opened.append(made)

            async def awaited(found: Any) -> Any:
                return await found

            def ask(verb: str, *given: Any, **named: Any) -> Any:
                found = getattr(made, verb)(*given, **named)
                return runner.run(awaited(found)) if inspect.isawaitable(found) else found

            return ask

        yield make
        for client in opened:
            closing = client.close()
            if inspect.isawaitable(closing):
                runner.run(closing)  # type: ignore[arg-type]


def test_a_prediction_is_submitted_once_and_waited_for(asker: Callable[[str], Ask], server: ServerProcess) -> None:
    ask = asker(server.url)
    key = f"client {datetime.now(UTC)}"
    submitted = ask("submit", "flights", ROWS, idempotency_key=key)
    assert ask("submit", "flights", ROWS, idempotency_key=key).id == submitted.id
    with pytest.raises(InvalidInput):
        ask("submit", "flights", ROWS[:1], idempotency_key=key)
    ended = ask("wait", submitted.id, timeout_s=20)
    assert (ended.state, ended.done, len(ended.predictions)) == ("succeeded", True, 2)
    now = ask("predict", "flights", ROWS)
    assert (ended.bundle, ended.predictions[0].label) == (now.bundle, now.predictions[0].label)
    assert ask("prediction", submitted.id).predictions == ended.predictions
    assert ask("cancel", submitted.id).state == "succeeded"
    table = ask("submit_body", "flights", b"distance\n1\n", "text/csv")
    assert ask("wait", table.id).done
    with pytest.raises(InvalidInput):
        ask("submit", "flights", [{"carrier": "UA"}])
    with pytest.raises(NotFound):
        ask("prediction", "nobody")
    assert len(ask("predict", "flights", [{"distance": 1}] * 1001).predictions) == 1001


def test_predictions_are_listed_a_page_at_a_time(asker: Callable[[str], Ask], server: ServerProcess) -> None:
    ask = asker(server.url)
    before = datetime.now(UTC) - timedelta(seconds=1)
    wanted = [ask("submit", "flights", [{"distance": at}]).id for at in range(3)]
    for id in wanted:
        ask("wait", id)
    found, cursor = [], None
    while True:
        page = ask("predictions", model="flights", state="succeeded", after=before, limit=2, cursor=cursor)
        found += [one.id for one in page.predictions]
        cursor = page.cursor
        if cursor is None:
            break
    assert [id for id in found if id in wanted] == wanted[::-1]
    assert ask("predictions", before=before - timedelta(days=1)).predictions == ()


def test_one_that_waits_is_cancelled_and_a_wait_has_an_end(asker: Callable[[str], Ask], stopped_pair: ServerProcess) -> None:
    ask = asker(stopped_pair.url)
    submitted = ask("submit", "flights", ROWS)
    with pytest.raises(DeadlineExceeded):
        ask("wait", submitted.id, timeout_s=0.3)
    assert ask("prediction", submitted.id).state in ("starting", "processing")
    cancelled = ask("cancel", submitted.id)
    assert (cancelled.state, cancelled.done, cancelled.predictions) == ("canceled", True, ())
    assert ask("wait", submitted.id).state == "canceled"


@pytest.fixture(scope="module")
def stopped_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A transformer whose predictor stands still."""
    folder = tmp_path_factory.mktemp("stopped")
    write_flights(folder / "flights")
    common = ("--model_name", "flights", "--drain_delay_s", "0")
    with ServerProcess("penstock_predictor", *common, "--model_dir", str(folder / "flights"), "--profile_s", "0") as predictor:
        given = ("--predictor_host", f"127.0.0.1:{predictor.port}", "--feature_store", write_store(folder / "online.db"))
        database = ("--database", f"sqlite:///{folder}/predictions.db")
        with ServerProcess("penstock_transformer", *common, *given, *database, "--drain_timeout_s", "1") as transformer:
            predictor.signal(signal.SIGSTOP)
            yield transformer
            predictor.signal(signal.SIGCONT)
