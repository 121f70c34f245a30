"""Inside `unchecked` typeguard instruments nothing; outside of it, it is as it was."""

import sys

import pytest
import typeguard

from penstock_transformer.store.feast_import import unchecked


def twice(number: int) -> int:
    return number * 2


def test_decorators_leave_what_they_decorate_as_it_is():
    with unchecked():
        assert typeguard.typechecked(twice) is twice
        assert typeguard.typechecked(debug_instrumentation=False)(twice) is twice
    with pytest.raises(typeguard.TypeCheckError):
        typeguard.typechecked(twice)("text")


def test_typeguard_is_itself_again_after_a_failed_import():
    before = typeguard.typechecked
    with pytest.raises(ImportError), unchecked():
        raise ImportError
    assert typeguard.typechecked is before


def test_without_typeguard_nothing_happens(monkeypatch):
    monkeypatch.setitem(sys.modules, "typeguard", None)
    with unchecked():
        pass
