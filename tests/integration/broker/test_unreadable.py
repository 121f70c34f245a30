"""Records as foreign producers may send them: header names that are no text, every codec, codecs that we have no package for.
Nothing is skipped, nothing stands still. Each test runs with both clients, unless about a package that kafka-python lacks."""

from importlib import import_module
from typing import Any

import pytest
from confluent_kafka import Producer

from penstock.testing.raw_records import RawRecord, produce_raw
from penstock_transformer.broker.port import BrokerError
from penstock_transformer.broker.records import OutRecord, Partition

PACKAGED = ("snappy", "lz4", "zstd")
CODECS = ("gzip", *PACKAGED)


def test_headers_of_any_name_and_value_are_read(bed: Any, helpers: Any) -> None:
    source, target = bed.topic("in"), bed.topic("out")
    odd = ((b"ce_id", b"one"), (b"\xff\xfe", b"\xff"), (b"null", None), (b"", b"empty"), (b"a", b"1"), (b"a", b"2"))
    records = [RawRecord(b"v0"), RawRecord(b"v1", b"k", odd), RawRecord(b"v2", headers=odd[:1])]
    produce_raw(bed.kafka.bootstrap, source, 0, records * 2)
    intake, _ = bed.joined(source)
    taken = helpers.take(intake, 6)
    text = (("ce_id", b"one"), ("\\xff\\xfe", b"\xff"), ("null", b""), ("", b"empty"), ("a", b"1"), ("a", b"2"))
    assert [record.headers for record in taken] == [(), text, text[:1]] * 2
    assert [record.value for record in taken] == [b"v0", b"v1", b"v2"] * 2
    assert taken[1].header("a") == b"2"
    assert [record.headers for record in bed.reader().read(source)] == [(), text, text[:1]] * 2
    # What was read can be written, as a dead letter is.
    bed.outlet().commit([OutRecord(target, None, b"copy", taken[1].headers)], {Partition(source, 0): 6}, intake.group())
    helpers.until(lambda: bool(bed.settled(target)))
    (copy,) = bed.reader().read(target)
    assert copy.headers == text


@pytest.mark.parametrize("codec", CODECS)
def test_what_foreign_producers_compress_is_read(bed: Any, helpers: Any, codec: str) -> None:
    source, intake = _compressed_between_plain(bed, helpers, codec)
    assert len(helpers.take(intake, 11)) == 11
    assert len(list(bed.reader().read(source))) == 11


@pytest.mark.parametrize("client", ["kafka-python"])
@pytest.mark.parametrize("codec", PACKAGED)
def test_a_codec_without_its_package_is_said(bed: Any, helpers: Any, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not skip, and not look for ever."""
    import_module("penstock_transformer.broker.kafka_python")
    monkeypatch.setattr(f"kafka.codec.has_{codec}", lambda: False)
    source, intake = _compressed_between_plain(bed, helpers, codec)
    said = rf"{source}/0 from offset 3 on cannot be read: {codec}.* package .*--kafka_client confluent"
    taken: list[Any] = []
    # As often as it is met, whether beside records that are fine or alone, paused and resumed or not.
    for _ in range(3):
        with pytest.raises(BrokerError, match=said) as caught:
            helpers.until(lambda: bool(taken.extend(intake.poll(0.5, 100))))
        assert not caught.value.retryable
    intake.pause([Partition(source, 0)])
    _compressed(bed, source, 1, "none", 1)
    helpers.until(lambda: bool(taken.extend(intake.poll(0.2, 100)) or len(taken) == 7))
    intake.resume([Partition(source, 0)])
    with pytest.raises(BrokerError, match=said):
        helpers.until(lambda: bool(taken.extend(intake.poll(0.5, 100))))
    assert sorted(record.position for record in taken) == sorted(f"{source}/{n}" for n in _offsets())
    reader = bed.reader()
    for _ in range(2):
        with pytest.raises(BrokerError, match=said):
            list(reader.read(source))


def _offsets() -> list[str]:
    return [f"0/{offset}" for offset in range(3)] + [f"1/{offset}" for offset in range(4)]


def _compressed_between_plain(bed: Any, helpers: Any, codec: str) -> tuple[str, Any]:
    """A topic of two partitions with 11 records, and who has joined to read them all."""
    source = bed.topic("in", partitions=2)
    _compressed(bed, source, 0, "none", 3)
    _compressed(bed, source, 0, codec, 5)
    _compressed(bed, source, 1, "none", 3)
    intake, members = bed.joined(source)
    helpers.until(lambda: bool(intake.poll(0.1, 1) or len(members.owned) == 2))
    for partition in members.owned:
        intake.seek(partition, 0)
    return source, intake


@pytest.mark.parametrize("codec", CODECS)
def test_what_we_compress_others_read(bed: Any, codec: str) -> None:
    target = bed.topic("out")
    bed.outlet(bed.make(kafka_compression=codec)).commit([OutRecord(target, b"k", b"v" * 1000)] * 10, {}, None)
    other = bed.make(kafka_client="confluent")
    assert [record.value for record in bed.reader(other).read(target)] == [b"v" * 1000] * 10


@pytest.mark.parametrize("client", ["kafka-python"])
@pytest.mark.parametrize("codec", PACKAGED)
def test_a_codec_to_write_without_its_package_is_said(bed: Any, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = import_module("penstock_transformer.broker.kafka_python.outlet").KafkaProducer._COMPRESSORS
    monkeypatch.setitem(known, codec, (lambda: False, known[codec][1]))
    with pytest.raises(BrokerError, match=f"--kafka_compression: {codec} .*package"):
        bed.outlet(bed.make(kafka_compression=codec))


def _compressed(bed: Any, topic: str, partition: int, codec: str, count: int) -> None:
    """So many records as one batch."""
    producer = Producer({"bootstrap.servers": bed.kafka.bootstrap, "compression.type": codec, "linger.ms": 50})
    for number in range(count):
        producer.produce(topic, b"%d" % number + b"x" * 200, partition=partition)
    assert producer.flush(30) == 0
