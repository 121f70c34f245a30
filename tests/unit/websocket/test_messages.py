"""Messages of a stream: any bytes at all are a request or an error that names the field."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dataplane import Context
from penstock.errors import InvalidInput, Overloaded, PenstockError
from penstock.protocol.limits import Limits
from penstock.serving.websocket.messages import encode_error, id_of, own_context, read_request, split_binary

GOOD = {"id": "1", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}


def read(document: dict[str, object]) -> object:
    return read_request(json.dumps(document).encode(), None, "m", None, Context("r"), Limits())


@given(st.binary(max_size=200))
def test_any_binary_message_is_split_or_refused(message: bytes) -> None:
    claimed = int.from_bytes(message[:4], "little")
    if len(message) >= 4 and 0 < claimed <= len(message) - 4:
        assert split_binary(message) == (message[4:], claimed)
        return
    with pytest.raises(InvalidInput) as refused:
        split_binary(message)
    assert refused.value.field == "message"


@given(st.binary(max_size=300))
def test_any_text_is_read_or_refused(message: bytes) -> None:
    try:
        read_request(message, None, "m", None, Context("r"), Limits())
    except PenstockError:
        id_of(message, None)


@pytest.mark.parametrize("request_id", [None, ""])
def test_a_request_without_an_id_is_refused(request_id: str | None) -> None:
    with pytest.raises(InvalidInput, match="answers are matched by it") as raised:
        read({**GOOD, "id": request_id})
    assert raised.value.field == "id"


def test_the_id_of_a_request_that_cannot_be_read_is_found_where_there_is_one() -> None:
    assert id_of(b'{"id":"7","inputs":[{"name":1}]}', None) == "7"
    assert id_of(b'{"id":"7","inputs":[]}\xff\xff', 23 - 1) == "7"
    assert id_of(b'{"id":7}', None) is None
    assert id_of(b"[" * 10000, None) is None


def test_parameters_named_like_headers_are_the_requests_context() -> None:
    parameters = {"penstock-timeout-ms": 500, "penstock-priority": "-1", "x-request-id": "abc", "encoded": True}
    request = read({**GOOD, "parameters": parameters})
    context = own_context(request, {b"penstock-route-key": b"k", b"penstock-priority": b"5"}, 10.0)  # type: ignore[arg-type]
    assert context is not None
    assert (context.deadline, context.priority, context.request_id, context.route_key) == (10.5, -1, "abc", "k")
    assert request.parameters == {"encoded": True}  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [True, 1.5, "soon"])
def test_a_malformed_parameter_is_refused_by_its_header(value: object) -> None:
    request = read({**GOOD, "parameters": {"penstock-timeout-ms": value}})
    with pytest.raises(InvalidInput) as raised:
        own_context(request, {}, 0.0)  # type: ignore[arg-type]
    assert raised.value.field == "Penstock-Timeout-Ms"


def test_an_error_says_what_kind_it_is_and_when_to_come_back() -> None:
    assert json.loads(encode_error("7", Overloaded("full", retry_after_s=0.25))) == {
        "id": "7", "error": "full", "kind": "overloaded", "status": 429, "retry_after_ms": 250,
    }  # fmt: skip
    shown = json.loads(encode_error(None, InvalidInput("lone \ud800", field="inputs[0].\ud800")))
    assert shown["id"] is None
    assert shown["field"] == "inputs[0].?"
