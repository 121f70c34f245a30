"""A producer that is given up ends there and then, and not when the garbage collector comes."""

import gc
from pathlib import Path

from penstock_transformer.broker.confluent.outlet import ConfluentProducer
from penstock_transformer.broker.settings import BrokerSettings


def librdkafka_threads() -> int:
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith("rdk:") for name in names)


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
