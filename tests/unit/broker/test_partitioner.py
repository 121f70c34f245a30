"""The key decides as it does for Java's clients: vectors of Kafka's own UtilsTest.testMurmur2."""

import pytest

import penstock_transformer.broker.kafka_python  # noqa: F401  (where kafka-python is imported quietly)

VECTORS = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize("key, expected", VECTORS)
def test_murmur2_is_javas(key: bytes, expected: int) -> None:
    from kafka.partitioner.default import murmur2

    found = murmur2(key)
    assert (found - 2**32 if found >= 2**31 else found) == expected
