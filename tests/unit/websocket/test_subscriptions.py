"""Subscriptions of a stream: one credit each, told until their end, silent behind it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import InvalidInput, NotFound, PenstockError
from penstock.serving.security.scopes import Caller
from penstock.serving.websocket.subscriptions import Subscriptions, subject_of

Tell, Ended = Callable[[bytes], None], Callable[[PenstockError | None], None]


class Rig:
    """Subscriptions over something that is told by hand."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.over = 0
        self.stopped: list[str] = []
        self.followed: dict[str, tuple[Tell, Ended]] = {}
        self.subscriptions = Subscriptions(self.follow, lambda message: self.sent.append(json.loads(message)), self.end)

    def follow(self, subject: str, caller: Caller | None, tell: Tell, ended: Ended) -> Callable[[], None]:
        del caller
        if subject == "none":
            ended(NotFound("no such thing"))
        self.followed[subject] = tell, ended
        return lambda: self.stopped.append(subject)

    def end(self) -> None:
        self.over += 1


@pytest.mark.parametrize(
    "message, subject",
    [
        (b'{"subscribe": "a"}', "a"),
        (b' { "subscribe" : "" } ', ""),
        (b'{"id": "1", "inputs": []}', None),
        (b'{"subscribe": "a", "id": "1"}', None),
        (b'"subscribe"', None),
        (b'{"subscribe": "\xff"}', None),
        (b'{"subscribe": "%s"}' % (b"a" * 2000), None),
    ],
)
def test_what_subscribes(message: bytes, subject: str | None) -> None:
    assert subject_of(message) == subject


@pytest.mark.parametrize("message", [b'{"subscribe": 1}', b'{"subscribe": null}'])
def test_an_id_that_is_none_is_named(message: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        subject_of(message)
    assert caught.value.field == "subscribe"


def test_it_is_told_until_its_end_and_takes_one_credit() -> None:
    rig = Rig()
    rig.subscriptions.begin("a", None)
    tell, ended = rig.followed["a"]
    tell(b'{"event":"x"}')
    assert (rig.sent, rig.over) == ([{"subscription": "a", "event": "x"}], 0)
    ended(None)
    ended(None)
    tell(b'{"event":"y"}')
    assert (len(rig.sent), rig.over) == (1, 1)
    rig.subscriptions.begin("a", None)
    assert rig.over == 1


def test_an_error_and_a_second_one_are_messages_and_give_the_credit_back() -> None:
    rig = Rig()
    rig.subscriptions.begin("none", None)
    rig.subscriptions.begin("a", None)
    rig.subscriptions.begin("a", None)
    assert [(one["subscription"], one["status"], one["kind"]) for one in rig.sent] == [
        ("none", 404, "not_found"),
        ("a", 409, "conflict"),
    ]
    assert rig.over == 2


def test_a_connection_that_ends_stops_all_without_a_word() -> None:
    rig = Rig()
    rig.subscriptions.begin("a", None)
    rig.subscriptions.begin("b", None)
    rig.subscriptions.stop()
    for tell, ended in rig.followed.values():
        tell(b"{}")
        ended(None)
    assert (rig.stopped, rig.sent, rig.over) == (["a", "b"], [], 0)
