"""Many changes of version in a row while REST, gRPC and Kafka run: none fails, none is answered by another bundle than it names,
none is lost or doubled on Kafka. `make test-rollouts ARGS="--changes 100 --seed 1"` says how many; here are ten.

Bundles answer differently (bed/variants.py), so that the value of every answer says who made it.
"""

import statistics
from collections.abc import Sequence

import pytest
from bed.broker import kafka_with_worker
from bed.changes import plan
from bed.flights import MODEL, RECORD, Flights
from bed.rollouts import Times, make_changes, measure
from bed.traffic import Traffic, traffic
from bed.variants import Variant, own_variant

SHOWN = 50


def own_score(served: Flights) -> float:
    """What the example's own bundle answers."""
    shown = served.kubectl("exec", "filler", "--", "python3", "-c", _ASK.format(host=f"{MODEL}-transformer.{served.namespace}"))
    return float(shown)


_ASK = f"""
import json, urllib.request
answer = urllib.request.urlopen("http://{{host}}/predict/{RECORD}", timeout=30)
print(list(json.load(answer)["predictions"][0]["scores"].values())[-1])
"""


def show(result: Traffic, wrong: dict[str, list[str]], times: Times) -> None:
    """The counts and times, as docs/operations.md has them."""
    for name, way in result.items():
        lost = f", {len(way.lost)} lost, {len(way.doubled)} doubled" if name == "kafka" else ""
        answered = len({answer.named for answer in way.answers})
        print(
            f"{name:6} {way.sent} sent, {len(way.failures)} failed, {len(wrong[name])} wrong{lost}; {answered} bundles answered"
        )
        for failure in way.failures[:SHOWN]:
            print(f"       {failure}")
    _show_times("applied to the first request", times.first_request_s)
    _show_times("  of which load and examples", times.load_s)
    _show_times("roll-back to the last request", times.last_request_s)


def _show_times(what: str, seconds: Sequence[float]) -> None:
    if seconds:
        print(f"{what:32} median {statistics.median(seconds):.1f} s, most {max(seconds):.1f} s ({len(seconds)} times)")


@pytest.mark.timeout(6 * 3600)
def test_many_changes_and_no_request_fails(served: Flights, variants: list[Variant], pytestconfig: pytest.Config) -> None:
    changes = plan(pytestconfig.getoption("--changes", 10), pytestconfig.getoption("--seed", 1))
    within_s = 60 * pytestconfig.getoption("--minutes", 300.0)
    with kafka_with_worker(served) as bootstrap:
        own = own_score(served)
        with traffic(served, bootstrap) as end:
            done = make_changes(served, changes, variants, within_s)
            result = end()
    everyone = [own_variant(served), *variants]
    wrong = {name: way.wrong(everyone, own) for name, way in result.items()}
    print(f"{len(done)} changes")
    show(result, wrong, measure(done, result))
    assert {name: way.failures for name, way in result.items() if way.failures} == {}
    assert {name: found for name, found in wrong.items() if found} == {}
    assert not result["kafka"].lost
    assert not result["kafka"].doubled
    for way in result.values():
        named = {answer.named for answer in way.answers}
        assert all({made.variant.name, made.variant.label} & named for made in done)
