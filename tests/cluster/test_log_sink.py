"""The chart's log sink as a pod: what transformers of the cluster log goes by Kafka into a claim, with what became of it, and the
sink's Service tells how good the bundle is.

A pod that is replaced meanwhile loses nothing, and nothing is read twice.
"""

import asyncio
from collections.abc import Iterator

import pytest
from bed import flights as example
from bed import log_sink
from bed.flights import Flights
from bed.log_sink import SINK, told
from bed.logging_service import LOG, ask_and_tell, folder, known_flights

from penstock.testing.waiting import until
from penstock_transformer.feedback.folder import LogFolder

pytestmark = pytest.mark.timeout(1800)
NAME = "logged"
ASKED = 200
WAIT_S = 180.0


@pytest.fixture
def logged(flights: Flights) -> Iterator[str]:
    """The URL of a model whose every prediction is logged, with a sink."""
    if flights.cluster.kind != "own":
        pytest.skip("claims are folders of this machine on our own cluster only: PENSTOCK_CLUSTER=own")
    with log_sink.running(flights, NAME), log_sink.serving(flights, NAME) as url:
        yield url


def test_what_is_logged_in_the_cluster_comes_into_the_claim(flights: Flights, logged: str) -> None:
    asked = known_flights(ASKED)
    log = LogFolder(folder(flights, LOG), NAME)
    assert asyncio.run(ask_and_tell(logged, asked[: ASKED // 2])) == ASKED // 2
    until(lambda: any(log.rows()), WAIT_S, "a row in the log")
    flights.kubectl("delete", "pods", f"--selector=penstock.dev/component={SINK.removeprefix('penstock-')}", "--timeout=120s")
    assert asyncio.run(ask_and_tell(logged, asked[ASKED // 2 :])) == ASKED // 2
    until(lambda: len(list(log.rows())) >= ASKED and len(log.outcomes()) >= ASKED, WAIT_S, "every row and its outcome")
    assert (len(list(log.rows())), len(log.outcomes())) == (ASKED, ASKED)
    flights.kubectl("rollout", "status", f"deployment/{SINK}", "--timeout=180s", timeout_s=200)
    (entry,) = until(
        lambda: [entry for entry in told(flights, NAME) if entry.sums.rows == ASKED], WAIT_S, "what became of all of them"
    )
    assert entry.bundle == example.digest(flights.bundle)
    assert 0 < entry.sums.right < entry.sums.labelled == ASKED
