"""A request's context out of its headers, and the ids that are echoed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.serving.context import new_request_id, read_context, request_id

DIGEST = "sha256:" + "ab" * 32


class Asked:
    """As much of an exchange as a context is made of."""

    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
        self.started = 100.0
        self.request_id = b""


def test_without_headers_only_an_id_is_made():
    asked = Asked()
    context = read_context(asked)
    assert asked.request_id == context.request_id.encode()
    assert (context.deadline, context.priority, context.traceparent, context.route_key, context.expect_bundle) == (
        None,
        0,
        None,
        None,
        None,
    )


def test_every_header_is_read():
    context = read_context(
        Asked(
            x_request_id="id-1",
            penstock_timeout_ms="250",
            penstock_priority="-3",
            penstock_route_key="flight 7",
            penstock_expect_bundle=DIGEST,
            traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        )
    )
    assert context.request_id == "id-1"
    assert context.deadline == 100.25
    assert context.priority == -3
    assert context.route_key == "flight 7"
    assert context.expect_bundle == DIGEST
    assert context.traceparent is not None
    assert context.traceparent.startswith(f"00-{'a' * 32}-")
    assert "b" * 16 not in context.traceparent


def test_a_bundle_may_be_named_with_its_digest():
    assert read_context(Asked(penstock_expect_bundle=f"flights@{DIGEST}")).expect_bundle == DIGEST


@pytest.mark.parametrize("value", ["0", "-5", "1.5", "", "soon", "9" * 30, str(25 * 3600 * 1000)])
def test_a_timeout_must_be_milliseconds(value):
    with pytest.raises(InvalidInput, match="Penstock-Timeout-Ms: expected milliseconds"):
        read_context(Asked(penstock_timeout_ms=value))


@pytest.mark.parametrize("value", ["high", "1.0", "--1", "", "99999"])
def test_a_priority_must_be_a_whole_number(value):
    with pytest.raises(InvalidInput, match="Penstock-Priority"):
        read_context(Asked(penstock_priority=value))


@pytest.mark.parametrize("value", ["", "flights", "sha256:abc", DIGEST.upper(), "x" * 500])
def test_an_expected_bundle_must_be_a_digest(value):
    with pytest.raises(InvalidInput, match="Penstock-Expect-Bundle") as raised:
        read_context(Asked(penstock_expect_bundle=value))
    assert len(str(raised.value)) < 200


@given(st.binary(max_size=300))
def test_an_id_that_is_echoed_is_always_safe_in_a_header(given_id):
    echoed = request_id({b"x-request-id": given_id})
    assert echoed
    assert all(33 <= byte <= 126 for byte in echoed)


def test_made_ids_are_unique():
    assert len({new_request_id() for _ in range(1000)}) == 1000
