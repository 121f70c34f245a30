"""Keys in windows: what fails together counts once, and a full window says so."""

from typing import Any

from penstock_transformer.evidence import keys as module
from penstock_transformer.evidence.keys import KeyWindow


def test_a_key_counts_once_a_window_until_it_fails() -> None:
    window = KeyWindow()
    window.begin(0.0)
    for kind in (None, "internal", "deadline_exceeded", None, "internal"):
        window.count("anna", kind)
    window.count("bert", None)
    assert (window.keys, window.failed_keys, window.unkeyed) == (2, {"internal": 1}, 0)
    window.begin(window.end_s)
    for name in ("anna", "anna", "bert"):
        window.count(name, "internal")
    assert (window.keys, window.failed_keys) == (3, {"internal": 2})


def test_so_many_keys_that_have_failed_are_remembered(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    window = KeyWindow()
    for number in range(3):
        window.begin(0.0)
        for key in ("a", "b"):
            window.count(key, "internal")
        assert window.keys == 2 * (number + 1)


def test_one_caller_with_nearly_all_requests_is_one_key() -> None:
    window = KeyWindow()
    for _ in range(900):
        window.count("loud", "internal")
    for n in range(100):
        window.count(f"quiet {n}", None)
    assert (window.keys, sum(window.failed_keys.values())) == (101, 1)


def test_a_full_window_counts_no_key_that_is_not_in_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    window = KeyWindow()
    for key in ("a", "b", "c", "c", "a"):
        window.count(key, "internal")
    assert (window.keys, window.failed_keys, window.unkeyed) == (2, {"internal": 2}, 2)
    window.begin(0.0)
    window.count("c", None)
    assert (window.keys, window.unkeyed) == (3, 2)


def test_a_request_without_a_key_is_a_key() -> None:
    window = KeyWindow()
    window.count_lone("internal")
    window.count_lone("internal")
    assert (window.keys, window.failed_keys) == (2, {"internal": 2})
