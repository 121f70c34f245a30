"""Records of answers and dead letters as endings."""

from penstock_transformer.predictions.answers import answer_of, letter_of
from penstock_transformer.predictions.resource import State


def test_a_prediction_is_a_result() -> None:
    form = (("content-type", b"application/octet-stream"), ("inference-header-content-length", b"7"))
    headers = (("ce_id", b"x"), ("ce_type", b"t"), *form, ("penstock-bundle", b"m@sha256:1"), ("traceparent", b"00"))
    ending = answer_of(b"abc", headers)
    assert ending is not None
    assert ending.payload is not None
    assert (ending.id, ending.state, ending.bundle) == ("x", State.SUCCEEDED, "m@sha256:1")
    assert (ending.payload.body, ending.payload.headers, ending.payload.nbytes) == (b"abc", form, 3)


def test_a_dead_letter_is_an_error_by_what_we_added() -> None:
    theirs = (("ce_id", b"x"), ("penstock-reason", b"theirs"), ("penstock-message", b"theirs"))
    ours = (("penstock-reason", b"invalid_input"), ("penstock-message", "é".encode()), ("penstock-field", b"rows[0]"))
    ending = letter_of((*theirs, *ours))
    assert ending is not None
    assert (ending.id, ending.state, ending.kind) == ("x", State.FAILED, "invalid_input")
    assert (ending.message, ending.field, ending.payload) == ("é", "rows[0]", None)


def test_without_an_id_it_is_nobodys() -> None:
    assert answer_of(b"", ()) is None
    assert letter_of((("ce_id", b"\xff"),)) is None
