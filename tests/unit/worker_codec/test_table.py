"""The table has every kind of error, and decides as the design says."""

import time

import pytest

from penstock import errors
from penstock.errors import DeadlineExceeded, ErrorKind, WrongBundle
from penstock_transformer.call import ConnectionEnded
from penstock_transformer.worker.table import Action, what_to_do

LETTERS = {"invalid_input", "too_large", "unsupported_type", "not_found", "conflict", "deadline_exceeded", "internal"}
CLASSES = {
    found.kind: found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, errors.PenstockError)
}


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_is_a_dead_letter_or_a_retry(kind, record):
    found = what_to_do(CLASSES[kind]("why"), record(), 0.0)
    assert found is (Action.DEAD_LETTER if kind in LETTERS else Action.RETRY)


def test_a_connection_that_ended_makes_a_suspect(record):
    assert what_to_do(ConnectionEnded("closed"), record(), None) is Action.SUSPECT


def test_a_time_out_that_is_not_the_records_makes_a_suspect(record):
    error = DeadlineExceeded("late")
    assert what_to_do(error, record(), None) is Action.SUSPECT
    assert what_to_do(error, record(), time.monotonic() + 60) is Action.SUSPECT
    assert what_to_do(error, record(), time.monotonic()) is Action.DEAD_LETTER


def test_patience_with_a_bundle_ends(record):
    error = WrongBundle("another")
    assert what_to_do(error, record(), None) is Action.RETRY
    assert what_to_do(error, record(timestamp_ms=int((time.time() - 100) * 1e3)), None) is Action.DEAD_LETTER
