"""Scopes: what they allow, and what is no scope."""

import pytest

from penstock.serving.security.scopes import Caller, known_scopes, read_scope, wanted


@pytest.mark.parametrize(
    "scope, verb, model, allowed",
    [
        ("predict:flights", "predict", "flights", True),
        ("predict:flights", "predict", "trains", False),
        ("predict:flights", "predict", None, False),
        ("predict:flights", "read", "flights", False),
        ("predict:flights", "admin", "flights", False),
        ("predict:flights", "describe", "flights", True),
        ("predict:flights", "describe", "trains", False),
        ("predict:flights", "describe", None, True),
        ("predict:*", "predict", "trains", True),
        ("predict:*", "predict", None, True),
        ("read:*", "describe", "trains", True),
        ("read:*", "write", "trains", False),
        ("admin", "admin", None, True),
        ("admin", "predict", "trains", True),
        ("admin:flights", "admin", "flights", True),
        ("admin:flights", "write", "flights", True),
        ("admin:flights", "admin", "trains", False),
        ("admin:flights", "admin", None, False),
        ("predict:a:b", "predict", "a:b", True),
        ("predict:flights", "infer", "flights", False),
    ],
)
def test_what_a_scope_allows(scope: str, verb: str, model: str | None, allowed: bool) -> None:
    assert Caller("x", frozenset({read_scope(scope)})).may(verb, model) is allowed


@pytest.mark.parametrize("text", ["", "predict", "predict:", "infer:x", "describe:*", "*", "predict:a b", "predict:a,b", "Admin"])
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(ValueError, match="expected predict:MODEL"):
        read_scope(text)


def test_an_issuers_other_scopes_mean_nothing() -> None:
    assert {str(scope) for scope in known_scopes(["openid", "admin", "predict:x", "admin:"])} == {"admin", "predict:x"}
    assert not Caller("x", frozenset()).may("describe", None)


def test_what_is_missing_is_said_as_a_scope() -> None:
    assert [wanted("predict", "m"), wanted("describe", "m"), wanted("admin", None), wanted("read", None)] == [
        "predict:m",
        "read:m",
        "admin",
        "read:*",
    ]
