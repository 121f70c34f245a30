"""Errors of every kind while a transaction is open: the next one is made, and none stays open behind it."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from penstock_transformer.broker.alternating import Alternating
from penstock_transformer.broker.confluent import outlet as confluent
from penstock_transformer.broker.kafka_python import outlet as kafka_python
from penstock_transformer.broker.membership import Membership
from penstock_transformer.broker.port import BrokerError, Outlet, Rebalanced
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.broker.settings import BrokerSettings

SETTINGS = BrokerSettings(kafka_bootstrap="nowhere:9092")
FINE = OutRecord("out", None, b"fine")
OFFSETS = {Partition("in", 0): 1}
GROUP = Membership(None, lambda _: None)


class Broker:
    """`at`: before which step the next `failures` come. `told` says which ids opened, began, aborted and committed."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.failures: dict[str, list[BaseException]] = {}

    def step(self, what: str, name: str) -> None:
        failures = self.failures.get(what)
        if failures:
            raise failures.pop(0)
        self.told.append(f"{what} {name}")

    def open_now(self) -> list[str]:
        """The ids whose transaction is open."""
        open_ones: dict[str, None] = {}
        for told in self.told:
            what, name = told.split()
            if what == "begin":
                assert not open_ones, "behind one that is open"
                open_ones[name] = None
            elif what in ("open", "abort", "commit"):
                open_ones.pop(name, None)
        return list(open_ones)


class FakeProducer:
    """confluent-kafka's."""

    def __init__(self, broker: Broker, options: dict[str, Any]) -> None:
        self._broker, self._name = broker, options["transactional.id"]

    def _step(self, what: str) -> None:
        self._broker.step(what, self._name)

    def init_transactions(self, _: float) -> None:
        self._step("open")

    def begin_transaction(self) -> None:
        self._step("begin")

    def list_topics(self, topic: str, timeout: float) -> Any:
        return type("Found", (), {"topics": {topic: type("Topic", (), {"error": None, "partitions": {0: None}})}})

    def produce(self, *_: Any, **__: Any) -> None:
        self._step("record")

    def send_offsets_to_transaction(self, *_: Any) -> None:
        self._step("offsets")

    def flush(self, _: float) -> int:
        self._step("flush")
        return 0

    def purge(self, *, blocking: bool) -> None:
        assert not blocking

    def commit_transaction(self, _: float) -> None:
        self._step("commit")

    def abort_transaction(self, _: float) -> None:
        self._step("abort")


class Future:
    is_done = True

    def failed(self) -> bool:
        return False


class FakeClient:
    """In the place of `kafka_python.outlet._Client`."""

    epoch = 0

    def __init__(self, broker: Broker, name: str) -> None:
        self._step = lambda what: broker.step(what, name)

    def take_over(self) -> None:
        self._step("open")

    def begin(self) -> None:
        self._step("begin")

    def send(self, _: OutRecord) -> Any:
        self._step("record")
        return Future()

    def add_offsets(self, *_: Any) -> None:
        self._step("offsets")

    def commit(self) -> None:
        self._step("commit")

    def abort(self) -> None:
        self._step("abort")

    def drop(self) -> None:
        pass

    def close(self, _: float) -> None:
        pass


Make = Callable[[str], Outlet]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture(params=["confluent", "kafka-python"])
def make(request: pytest.FixtureRequest, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(confluent, "Producer", lambda options: FakeProducer(broker, options))
    monkeypatch.setattr(confluent, "reach", lambda *_: None)
    monkeypatch.setattr(kafka_python, "_Client", lambda _, name: FakeClient(broker, name))
    kind = confluent.ConfluentOutlet if request.param == "confluent" else kafka_python.KafkaPythonOutlet

    def made(name: str) -> Outlet:
        outlet = kind(SETTINGS, name)
        request.addfinalizer(outlet.close)
        return outlet

    return made


def refusal(make: Make) -> Exception:
    """What the client raises for an older generation."""
    if isinstance(make("a"), confluent.ConfluentOutlet):
        return KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
    return kafka_python.errors.IllegalGenerationError()


def lost(make: Make) -> Exception:
    """What the client raises when nobody answers."""
    if isinstance(make("a"), confluent.ConfluentOutlet):
        return KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return kafka_python.errors.KafkaTimeoutError()


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        *((TypeError, step) for step in ("begin", "record", "offsets", "commit")),
        # No interrupt comes to the thread that confluent-kafka is given the offsets on.
        *((KeyboardInterrupt, step) for step in ("begin", "record", "commit")),
    ],
)
def test_an_error_without_a_name(make: Make, broker: Broker, kind: type[BaseException], step: str) -> None:
    outlet = Alternating(make("1"), make("2"))
    outlet.open()
    broker.failures[step] = [kind()]
    with pytest.raises(kind):
        outlet.commit([FINE], OFFSETS, GROUP)
    for _ in range(2):
        outlet.commit([FINE], OFFSETS, GROUP)
        assert broker.open_now() == []
    assert [told for told in broker.told if "commit" in told] == ["commit 2", "commit 1"]


def test_a_fault_is_aborted_at_once(make: Make, broker: Broker) -> None:
    outlet = make("a")
    outlet.open()
    broker.failures["record"] = [TypeError("a header")]
    with pytest.raises(TypeError):
        outlet.commit([FINE], OFFSETS, GROUP)
    assert broker.open_now() == []
    assert broker.told == ["open a", "begin a", "abort a"]


def test_a_fault_whose_abort_fails_too_is_aborted_by_opening_anew(make: Make, broker: Broker) -> None:
    outlet = make("a")
    outlet.open()
    broker.failures = {"record": [TypeError("a header")], "abort": [lost(make)]}
    with pytest.raises(TypeError):
        outlet.commit([FINE], OFFSETS, GROUP)
    assert broker.told == ["open a", "begin a", "open a"]


def test_offsets_that_are_refused_and_an_abort_that_fails(make: Make, broker: Broker) -> None:
    outlet = Alternating(make("1"), make("2"))
    outlet.open()
    broker.failures = {"offsets": [refusal(make)], "abort": [lost(make)]}
    with pytest.raises(Rebalanced):
        outlet.commit([FINE], OFFSETS, GROUP)
    assert broker.open_now() == ["1"]
    outlet.commit([FINE], OFFSETS, GROUP)
    assert broker.open_now() == []


def test_nothing_is_asked_of_one_that_works(make: Make, broker: Broker) -> None:
    outlet = make("a")
    outlet.open()
    broker.failures["offsets"] = [refusal(make)]
    with pytest.raises(BrokerError):
        outlet.commit([FINE], OFFSETS, GROUP)
    told = broker.told.copy()
    outlet.restore()
    assert broker.told == told


@pytest.mark.parametrize("make", ["confluent"], indirect=True)
def test_only_what_a_refused_record_may_have_spoilt_waits_for_its_report(make: Make, broker: Broker) -> None:
    outlet = make("a")
    outlet.open()
    for failure, flushes in ((refusal(make), 0), (lost(make), 1)):
        broker.told.clear()
        broker.failures["offsets"] = [failure]
        with pytest.raises(BrokerError):
            outlet.commit([FINE], OFFSETS, GROUP)
        assert broker.told.count("flush a") == flushes
