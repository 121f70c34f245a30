"""A static member of a group that says how many partitions it has: argv is client, bootstrap, instance, group, topic."""

import sys
from collections.abc import Sequence

from penstock_transformer.broker.opening import open_intake
from penstock_transformer.broker.records import Partition
from penstock_transformer.broker.settings import BrokerSettings


class Counting:
    """An Assignment that says what is owned."""

    def __init__(self) -> None:
        self._owned: set[Partition] = set()

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self._owned.update(partitions)
        print(len(self._owned), flush=True)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self._owned.difference_update(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.revoked(partitions)


def main() -> None:
    client, bootstrap, instance, group, topic = sys.argv[1:]
    settings = BrokerSettings(kafka_bootstrap=bootstrap, kafka_client=client, kafka_instance=instance, kafka_session_timeout_s=30)
    intake = open_intake(settings, group)
    intake.subscribe([topic], Counting())
    while True:
        intake.poll(1.0, 1)


main()
