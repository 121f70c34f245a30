"""What the commands about dead letters share: which letters are meant, and where Kafka is.

options --wanted_of--> Wanted        options --open_box--> DeadLetterBox
"""

import time
from datetime import UTC, datetime
from typing import Any

import click

from penstock.errors import InvalidInput
from penstock.features.durations import read_duration
from penstock_cli.setting_options import add_options
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.worker.box_opening import KafkaBroker
from penstock_transformer.worker.dead_letter_box import DeadLetterBox, Wanted
from penstock_transformer.worker.dead_letters import Letter

# The variables of the transformer's programs, so that a shell in a pod needs nothing said twice.
PREFIX = "PENSTOCK_TRANSFORMER"
_UPDATES = ".updates"
_BROKER = (
    *("kafka_bootstrap", "kafka_client", "kafka_security", "kafka_ca_file", "kafka_cert_file", "kafka_key_file"),
    *("kafka_sasl_mechanism", "kafka_username", "kafka_password", "kafka_timeout_s", "kafka_record_mb"),
)


class Moment(click.ParamType[float]):
    """A time, or how long ago: `2026-01-31T12:00`, `90m`, `2d`; in s of the Unix epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return float(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        try:
            return time.time() - read_duration(value, "--since")
        except InvalidInput:
            self.fail(f"expected a time such as 2026-01-31T12:00 or how long ago such as 90m, got {value!r}", param, ctx)


def choices(command: click.Command) -> click.Command:
    """`--reason`, `--since`, `--id`."""
    command.params += [
        click.Option(["--reason"], help="Only these: a kind of error, such as invalid_input or not_found, or `crashed`."),
        click.Option(
            ["--since"], type=Moment(), help="Only those since this time, or since so long ago: 2026-01-31T12:00, 90m, 2d."
        ),
        click.Option(["--id", "ids"], multiple=True, help="Only this prediction, or this TOPIC/PARTITION/OFFSET; repeatable."),
    ]
    return command


def broker(command: click.Command) -> click.Command:
    """The options of the connection to Kafka."""
    return add_options(command, BrokerSettings, PREFIX, only=_BROKER)


def wanted_of(reason: str | None, since: float | None, ids: tuple[str, ...], *, done: bool = False) -> Wanted:
    """The letters that are meant."""
    return Wanted(reason, since, frozenset(ids) if ids else None, done)


def names_of(letter: Letter) -> tuple[str, str, str]:
    """What `--id` may call it: its prediction's id, its own place, its request's."""
    return letter.id, letter.place, letter.position


def open_box(model: str, options: dict[str, Any]) -> DeadLetterBox:
    """The dead letters of a model, or of a feature set's updates, which go back to where they came from.

    Raises UsageError for settings that do not go together.
    """
    try:
        settings = BrokerSettings(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not settings.kafka_bootstrap:
        raise click.UsageError(f"say where Kafka is: --kafka_bootstrap HOST:PORT, or {PREFIX}_KAFKA_BOOTSTRAP")
    requests = model if model.endswith(_UPDATES) else None
    return DeadLetterBox(model, KafkaBroker(settings), requests=requests)
