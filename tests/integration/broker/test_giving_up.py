"""A producer that is given up ends there and then, and not when the garbage collector comes."""

import gc
from contextlib import suppress
from pathlib import Path

from penstock_transformer.broker.confluent.outlet import ConfluentProducer
from penstock_transformer.broker.settings import BrokerSettings


def librdkafka_threads() -> int:
    found = 0
    for file in Path("/proc/self/task").glob("*/comm"):
        # A thread may end while it is looked at.
        with suppress(OSError):
            found += file.read_text().startswith("rdk:")
    return found


def test_nobody_waits_for_the_collector() -> None:
    before = librdkafka_threads()
    gc.disable()
    try:
        producer = ConfluentProducer(BrokerSettings(kafka_bootstrap="127.0.0.1:1"))
        assert librdkafka_threads() > before
        del producer
        assert librdkafka_threads() == before
    finally:
        gc.enable()
