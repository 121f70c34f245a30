"""Whatever bytes come: a request, or an error of the record's own; never anything else."""

import json
import string

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.dataplane import InferRequest
from penstock.errors import ErrorKind, PenstockError
from penstock.protocol.limits import Limits
from penstock_transformer.requests import PredictRequest
from penstock_transformer.worker.headers import usable_id
from penstock_transformer.worker.reading import Reader

READER = Reader("flights", limits=Limits(body_bytes=1 << 16))
OWN = {
    ErrorKind.INVALID_INPUT,
    ErrorKind.TOO_LARGE,
    ErrorKind.UNSUPPORTED_TYPE,
    ErrorKind.DEADLINE_EXCEEDED,
}
NAMES = [
    "ce_id", "ce_specversion", "content-type", "Content-Type", "content-encoding", "inference-header-content-length",
    "traceparent", "ce_traceparent", "penstock-timeout-ms", "penstock-priority", "penstock-route-key", "penstock-expect-bundle",
]  # fmt: skip
KINDS = [b"application/json", b"application/octet-stream", b"application/cloudevents+json", b"application/json; charset=latin1"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "rows": json_values,
        "options": json_values,
        "inputs": json_values,
        "specversion": st.sampled_from(["1.0", "2.0", 1]),
        "id": json_values,
        "datacontenttype": st.sampled_from([*[kind.decode() for kind in KINDS], None, "x", "\ud800", 4]),
        "data": json_values,
        "data_base64": json_values,
        "inferenceheadercontentlength": json_values,
    },
)
values = (
    st.binary()
    | documents.map(lambda document: json.dumps(document).encode())
    | st.text().map(lambda t: t.encode("utf-8", "replace"))
)
headers = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | st.text(max_size=20),
        st.binary(max_size=60) | st.sampled_from([*KINDS, b"10", b"1000", b"-1", b"99999999999", b"sha256:" + b"0" * 64]),
    ),
    max_size=8,
)


@given(values, headers)
@example(b'{"rows": [' + b"[" * 5000, [])
@example(b'{"inputs": 1e999999}', [])
@example(b'{"specversion": "1.0", "data": {"rows": []}}', [("content-type", b"application/cloudevents+json")])
def test_any_bytes_are_a_request_or_the_records_own_error(record, value, given_headers):
    made = record(value, *given_headers)
    try:
        request = READER.read(made, made.value)
    except PenstockError as caught:
        error = caught
    else:
        assert isinstance(request, PredictRequest | InferRequest)
        assert request.context.request_id
        return
    assert error.kind in OWN
    assert error.request_id


cells = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(
    rows=st.lists(st.dictionaries(st.text(), cells, max_size=5), max_size=5),
    noise=st.lists(st.tuples(st.text(string.ascii_letters, min_size=1), st.binary(max_size=10)), max_size=5),
    identity=st.text(max_size=40),
    at=st.randoms(use_true_random=False),
)
def test_rows_and_id_are_those_that_were_written_whatever_the_order_of_headers(record, rows, noise, identity, at):
    encoded = identity.encode("utf-8", "replace")
    lines = [*noise, ("ce_id", encoded), ("content-type", b"application/json")]
    at.shuffle(lines)
    made = record(
        json.dumps({"rows": rows}).encode(), *[line for line in lines if line[0].lower() != "ce_id" or line[1] == encoded]
    )
    request = READER.read(made, made.value)
    assert request.rows == rows
    assert request.context.request_id == (usable_id(encoded) or made.position)


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_binary_tensors_are_those_that_were_written(record, numbers):
    item = {"name": "x", "datatype": "FP32", "shape": [len(numbers)], "parameters": {"binary_data_size": 4 * len(numbers)}}
    head = json.dumps({"inputs": [item]}).encode()
    array = np.array(numbers, "<f4")
    made = record(head + array.tobytes(), ("inference-header-content-length", b"%d" % len(head)))
    assert READER.read(made, made.value).inputs[0].array.tobytes() == array.tobytes()
