"""The future that wakes a poll: it stays among what polls wait for, and must not remember them."""

from penstock_transformer.broker.kafka_python.intake import _Bell


def test_a_bell_remembers_its_last_poll_alone() -> None:
    bell, rung = _Bell(), []
    for poll in range(1000):
        bell.add_both(lambda _, poll=poll: rung.append(poll))
    assert len(bell._callbacks) == len(bell._errbacks) == 1
    bell.success(None)
    assert rung == [999]
    bell.add_both(lambda _: rung.append("late"))
    assert rung == [999, "late"]
