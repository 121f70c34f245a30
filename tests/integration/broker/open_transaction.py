"""A process that leaves a transaction open: argv is client, bootstrap, instance, group, topic, number of records."""

import sys
import time

from penstock_transformer.broker.opening import open_outlet, transactional_id
from penstock_transformer.broker.records import OutRecord
from penstock_transformer.broker.settings import BrokerSettings


def main() -> None:
    client, bootstrap, instance, group, topic, count = sys.argv[1:]
    settings = BrokerSettings(
        kafka_bootstrap=bootstrap, kafka_client=client, kafka_instance=instance, kafka_transaction_timeout_s=60
    )
    outlet = open_outlet(settings, transactional_id(settings, group))
    outlet.open()
    inner = outlet._client
    if client == "confluent":
        inner.producer.begin_transaction()
    else:
        inner.begin()
    for number in range(int(count)):
        inner.send(OutRecord(topic, b"k", b"open%d" % number))
    if client == "confluent":
        inner.producer.flush(10)
    else:
        inner.flush()
    print("written", flush=True)
    time.sleep(600)


main()
