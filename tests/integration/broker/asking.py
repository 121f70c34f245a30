"""Asks without a pause where a group stands: argv is client, bootstrap, instance, group, topic. Prints each answer that is
another than the one before."""

import sys
import threading
from collections.abc import Callable

from penstock_transformer.broker.opening import open_admin, open_intake
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import Partition
from penstock_transformer.broker.settings import BrokerSettings


def ask(name: str, question: Callable[[], object]) -> None:
    before: object = None
    while True:
        try:
            answer = question()
        except Retriable:
            answer = "away"
        if answer != before:
            sys.stdout.write(f"{name} {answer}\n")
            sys.stdout.flush()
        before = answer


def main() -> None:
    client, bootstrap, instance, group, topic = sys.argv[1:]
    settings = BrokerSettings(kafka_bootstrap=bootstrap, kafka_client=client, kafka_instance=instance, kafka_timeout_s=2.0)
    partition = Partition(topic, 0)
    admin, intake = open_admin(settings), open_intake(settings, group)
    asking = threading.Thread(target=ask, args=("admin", lambda: admin.committed(group, [partition]).get(partition)), daemon=True)
    asking.start()
    ask("intake", lambda: intake.committed([partition])[partition])


main()
