"""Opens the parts of the port with the client that the settings name; a client is imported only here, when it is asked for."""

from penstock_transformer.broker.alternating import Alternating
from penstock_transformer.broker.at_least_once import AtLeastOnce
from penstock_transformer.broker.port import Admin, BrokerError, Intake, Outlet, Producer, Reader
from penstock_transformer.broker.settings import BrokerSettings


def open_intake(settings: BrokerSettings, group: str) -> Intake:
    """A member of a group, static under this process's name. Raises Retriable (Kafka is away), BrokerError."""
    if _confluent(settings):
        from penstock_transformer.broker.confluent.intake import ConfluentIntake

        return ConfluentIntake(settings, group, settings.instance)
    from penstock_transformer.broker.kafka_python.intake import KafkaPythonIntake

    return KafkaPythonIntake(settings, group, settings.instance)


def transactional_id(settings: BrokerSettings, group: str) -> str:
    """Under which this process's transactions for a group go: the next process of the same name takes them over."""
    return f"penstock-{group}-{settings.instance}"


def open_outlet(settings: BrokerSettings, name: str) -> Outlet:
    """A transactional outlet, not opened yet. `name` is the transactional id."""
    if _confluent(settings):
        from penstock_transformer.broker.confluent.outlet import ConfluentOutlet

        return ConfluentOutlet(settings, name)
    from penstock_transformer.broker.kafka_python.outlet import KafkaPythonOutlet

    return KafkaPythonOutlet(settings, name)


def open_alternating(settings: BrokerSettings, name: str) -> Outlet:
    """A transactional outlet for transactions that follow closely on each other, not opened yet. Its ids are `name` and
    `<name>/2`: no process is called so, as a member of a group cannot be."""
    return Alternating(open_outlet(settings, name), open_outlet(settings, f"{name}/2"))


def open_at_least_once(settings: BrokerSettings) -> Outlet:
    """An outlet without transactions."""
    return AtLeastOnce(lambda: open_producer(settings))


def open_both(settings: BrokerSettings, group: str, delivery: str) -> tuple[Intake, Outlet]:
    """What a part stands on that reads in a group and writes what comes of it: in transactions, or `at-least-once`.

    The outlet is not opened yet. Raises Retriable, BrokerError.
    """
    # An outlet connects only when it is opened: should the intake find nobody, none is left behind half open.
    transactional = delivery != "at-least-once"
    outlet = open_alternating(settings, transactional_id(settings, group)) if transactional else open_at_least_once(settings)
    return open_intake(settings, group), outlet


def open_producer(settings: BrokerSettings) -> Producer:
    """For records that belong to no offsets. Raises Retriable, BrokerError."""
    if _confluent(settings):
        from penstock_transformer.broker.confluent.outlet import ConfluentProducer

        return ConfluentProducer(settings)
    from penstock_transformer.broker.kafka_python.outlet import KafkaPythonProducer

    return KafkaPythonProducer(settings)


def open_reader(settings: BrokerSettings) -> Reader:
    """For topics from end to end. Raises Retriable, BrokerError."""
    if _confluent(settings):
        from penstock_transformer.broker.confluent.reader import ConfluentReader

        return ConfluentReader(settings)
    from penstock_transformer.broker.kafka_python.reader import KafkaPythonReader

    return KafkaPythonReader(settings)


def open_admin(settings: BrokerSettings) -> Admin:
    """For topics and groups. Raises Retriable, BrokerError."""
    if _confluent(settings):
        from penstock_transformer.broker.confluent.admin import ConfluentAdmin

        return ConfluentAdmin(settings)
    from penstock_transformer.broker.kafka_python.admin import KafkaPythonAdmin

    return KafkaPythonAdmin(settings)


def _confluent(settings: BrokerSettings) -> bool:
    if not settings.kafka_bootstrap:
        raise BrokerError("expected --kafka_bootstrap: where Kafka's brokers are")
    if settings.kafka_client != "confluent":
        return False
    try:
        import confluent_kafka  # noqa: F401
    except ImportError as missing:
        raise BrokerError("--kafka_client confluent needs the package's extra: penstock-transformer[confluent]") from missing
    return True
