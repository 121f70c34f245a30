"""Alerts on predictions by Kafka and by id: lag, dead letters, transactions, relay, sink, webhooks."""

from monitoring.alerts.alert import Alert
from monitoring.terms import rate, share

_BY = "namespace, model"
_MODEL = "{{ $labels.namespace }}/{{ $labels.model }}"
_LAG = 'max by (namespace, model) (penstock_queue_lag_seconds{topic=~".*[.]requests"})'


def alerts() -> list[Alert]:
    """Of the asynchronous ways in and out."""
    return [*_of_queues(), *_of_workers(), *_by_id()]


def _of_queues() -> list[Alert]:
    return [
        Alert(
            name="QueueLagGrows",
            severity="warning",
            lasting="10m",
            expression=f"{_LAG} > 60\nand\nderiv(({_LAG})[10m:1m]) > 0.2",
            summary=f"{_MODEL}: requests on Kafka wait {{{{ $value | humanizeDuration }}}}, and longer every minute",
            description="More requests come than the workers predict, or they have stopped.",
        ),
        Alert(
            name="QueueLagHigh",
            severity="critical",
            lasting="10m",
            expression=f"{_LAG} > 900",
            summary=f"{_MODEL}: requests on Kafka wait {{{{ $value | humanizeDuration }}}}",
            description="Requests that carry a deadline become dead letters once it has passed.",
        ),
        Alert(
            name="BrokerAway",
            severity="critical",
            lasting="5m",
            expression="max by (namespace, component) (penstock_queue_broker_up) == 0",
            summary="{{ $labels.namespace }}: no {{ $labels.component }} reaches Kafka",
            description="Nothing is read and nothing is written. What is in Kafka is safe and goes on when it is back.",
        ),
    ]


def _of_workers() -> list[Alert]:
    letters = rate("penstock_worker_dead_letters_total", "", _BY, "15m")
    records = rate("penstock_worker_records_total", "", _BY, "15m")
    aborts = rate("penstock_worker_aborts_total", "", _BY, "10m")
    committed = rate("penstock_worker_transactions_total", "", _BY, "10m")
    return [
        Alert(
            name="DeadLettersRise",
            severity="warning",
            lasting="5m",
            expression=f"{share(letters, records)} > 0.01",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of records become dead letters",
            description="They could not be predicted and wait, with the reason, to be seen to.",
        ),
        Alert(
            name="DeadLettersOfFaults",
            severity="critical",
            lasting="1m",
            expression="sum by (namespace, model, reason) "
            '(increase(penstock_worker_dead_letters_total{reason=~"internal|crashed"}[15m])) > 0',
            summary=f"{_MODEL}: records become dead letters by a fault of ours ({{{{ $labels.reason }}}})",
            description="These records were in order, as far as is known; they can be replayed once the fault is mended.",
        ),
        Alert(
            name="TransactionsAbort",
            severity="warning",
            lasting="10m",
            expression=f"{aborts} / (({aborts} + {committed}) > 0) > 0.05",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of transactions fail",
            description="What they held is done again: nothing is lost or doubled, but it takes longer.",
        ),
        Alert(
            name="WorkerBroken",
            severity="critical",
            lasting="5m",
            expression="max by (namespace, model, pod) (penstock_worker_broken) == 1\n"
            "or max by (namespace, model, pod) (penstock_worker_stopped) == 1",
            summary="{{ $labels.namespace }}/{{ $labels.pod }}: commits fail, or the worker has stopped for good",
            description="Nothing that this worker reads comes to an end.",
        ),
    ]


def _by_id() -> list[Alert]:
    failed = rate("penstock_webhook_attempts_total", 'outcome!="delivered"', "namespace", "15m")
    return [
        Alert(
            name="RelayBehind",
            severity="warning",
            lasting="10m",
            expression="max by (namespace) (penstock_relay_oldest_seconds) > 60",
            summary="{{ $labels.namespace }}: predictions wait {{ $value | humanizeDuration }} to be published",
            description="They are in the database and not yet in Kafka: no relay runs, or the brokers or the database are slow.",
        ),
        Alert(
            name="SinkFaults",
            severity="warning",
            lasting="10m",
            expression=f"{rate('penstock_sink_faults_total', '', 'namespace, pod', '5m')} > 0",
            summary="{{ $labels.namespace }}/{{ $labels.pod }}: results cannot be written to the database",
            description="They are tried again. Meanwhile predictions that have been made look as if they were still processing.",
        ),
        Alert(
            name="PredictionsOld",
            severity="warning",
            lasting="10m",
            expression="max by (namespace, model) (penstock_queue_predictions_oldest_seconds) > 3600",
            summary=f"{_MODEL}: a prediction has not ended for {{{{ $value | humanizeDuration }}}}",
            description="It was handed in and has neither succeeded nor failed.",
        ),
        Alert(
            name="WebhooksFail",
            severity="warning",
            lasting="15m",
            expression=f"{share(failed, rate('penstock_webhook_attempts_total', '', 'namespace', '15m'))} > 0.5",
            summary="{{ $labels.namespace }}: {{ $value | humanizePercentage }} of attempts to deliver a webhook fail",
            description="Each is tried again for a day and a half, then given up; the result stays with its prediction.",
        ),
    ]
