"""From headers to the prediction that is kept: whose it is, what travels with it, what makes two requests the same."""

from typing import Any

import pytest

from penstock.dataplane import Context
from penstock.errors import InvalidInput
from penstock.serving.security.scopes import EVERYTHING, Caller, Scope
from penstock_transformer.predictions.http.asking import new_prediction, owner_of, seen_by
from penstock_transformer.predictions.resource import NewPrediction, Payload
from penstock_transformer.predictions.submission import Accepted

JSON = (("content-type", b"application/json"),)
BODY = Accepted(Payload(b'{"rows": []}', JSON, 12), 0)


def asked(
    accepted: Accepted = BODY, model: str = "m", headers: dict[bytes, bytes] | None = None, **context: Any
) -> NewPrediction:
    return new_prediction(model, accepted, Context("r", **context), headers or {}, owner="key a", keep_s=None)


def test_who_owns_and_who_sees() -> None:
    ann = Caller("key ann", frozenset({Scope("predict", "*"), Scope("admin", "flights")}))
    root = Caller("key root", EVERYTHING)
    nobody = Caller("address 10.0.0.7", EVERYTHING, anonymous=True)
    assert [owner_of(caller) for caller in (None, nobody, ann, root)] == ["", "", "key ann", "key root"]
    assert [seen_by(caller) for caller in (None, nobody, ann, root)] == ["", "", "key ann", None]


def test_the_digest_is_of_what_decides_the_prediction() -> None:
    first = asked()
    assert asked(headers={b"penstock-timeout-ms": b"5", b"traceparent": b"x"}, traceparent="t", priority=3).digest == first.digest
    others = [
        asked(model="n"),
        asked(route_key="k"),
        asked(expect_bundle="sha256:1"),
        asked(headers={b"penstock-webhook": b"https://a.example/"}),
        asked(Accepted(Payload(b'{"rows": [] }', JSON, 13), 0)),
        asked(Accepted(Payload(b'{"rows": []}', (*JSON, ("inference-header-content-length", b"12")), 12), 0)),
        asked(model="m1", route_key=None),
    ]
    digests = {one.digest for one in others} | {first.digest}
    assert len(digests) == len(others) + 1
    assert asked().id != first.id


def test_what_travels_with_it() -> None:
    headers = {b"penstock-timeout-ms": b"500", b"penstock-priority": b"-1", b"penstock-route-key": b"k\xc3\xa4", b"x-else": b"1"}
    made = asked(headers=headers, route_key="kä", traceparent="00-t", expect_bundle="sha256:2")
    assert dict(made.headers) == {
        "traceparent": b"00-t",
        "penstock-timeout-ms": b"500",
        "penstock-priority": b"-1",
        "penstock-route-key": b"k\xc3\xa4",
        "penstock-expect-bundle": b"sha256:2",
    }
    assert made.key == "kä".encode()


@pytest.mark.parametrize("key", [b"", b"   ", b"k" * 256, b"a\tb", b"\x7f"])
def test_keys_that_are_none(key: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        asked(headers={b"idempotency-key": key})
    assert caught.value.field == "Idempotency-Key"
