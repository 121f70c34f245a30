"""Who led the group, by the ids that brokers make."""

from uuid import uuid4

import pytest

from penstock_transformer.broker.kafka_python.joining import led_by_a_former_life


@pytest.mark.parametrize(
    ("leader", "instance", "led"),
    [
        ("worker-0", "worker-0", True),
        ("worker-1", "worker-0", False),
        ("worker-0-blue", "worker-0", False),
        ("host", None, False),
    ],
)
def test_the_leader_was_this_member_if_it_had_its_name(leader: str, instance: str | None, led: bool) -> None:
    member = f"{instance or 'host'}-{uuid4()}"
    assert led_by_a_former_life(f"{leader}-{uuid4()}", member, instance) is led
    assert not led_by_a_former_life(member, member, instance)
