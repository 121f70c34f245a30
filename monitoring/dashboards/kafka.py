"""Predictions by Kafka and by id: how far behind, how fast, what failed, from request to result."""

from monitoring.board import MODEL, NAMESPACE, Board
from monitoring.panels import Level, Query, graph, number
from monitoring.terms import HERE, OF_MODEL, greatest, mean, quantile, rate, total

# Several programs watch the same queues: their figures are of the same thing, the greatest counts.
_REQUESTS = f'{OF_MODEL}, topic=~".*[.]requests"'
_WORKER = f'{OF_MODEL}, component="worker"'


def board() -> Board:
    """The chosen models; relay and sink serve all models of their database."""
    made = Board("kafka", "Kafka", "Predictions by Kafka and by id: lag, throughput, dead letters.", NAMESPACE, MODEL)
    made.row("Now", *_numbers())
    made.row("Topics", *_topics())
    made.row("Workers", *_workers())
    made.row("Predictions by id: relay, sink, webhooks", *_by_id())
    return made


def _numbers() -> list[object]:
    return [
        number(
            "Behind",
            "Age of the oldest request that no worker has read.",
            "s",
            Query(greatest("penstock_queue_lag_seconds", _REQUESTS)),
            Level(60, "orange"),
            Level(600, "red"),
        ),
        number(
            "Requests waiting",
            "Requests that no worker has read.",
            "short",
            Query(f"sum({greatest('penstock_queue_lag_records', _REQUESTS, 'topic, partition')})"),
        ),
        number(
            "Predictions",
            "Predictions a second that were committed.",
            "ops",
            Query(rate("penstock_worker_predictions_total", _WORKER)),
        ),
        number(
            "Dead letters",
            "Dead letters a second that were committed.",
            "ops",
            Query(f"{rate('penstock_worker_dead_letters_total', _WORKER)} or vector(0)"),
            Level(0.001, "orange"),
        ),
        number(
            "Dead letters waiting",
            "Dead letters that nobody has seen to: `penstock dead-letters list`.",
            "short",
            Query(f"sum({greatest('penstock_queue_dead_letters_waiting', OF_MODEL, 'model')})"),
            Level(1, "orange"),
        ),
        number(
            "Brokers answer",
            "1 while every program that watches the queues reaches Kafka.",
            "short",
            Query(f"min(penstock_queue_broker_up{{{HERE}}})"),
        ),
    ]


def _topics() -> list[object]:
    topic = "{{topic}}"
    ends = f"max by (topic, partition) (penstock_queue_end_offset{{{OF_MODEL}}})"
    committed = f"max by (topic, partition) (penstock_queue_committed_offset{{{OF_MODEL}}})"
    return [
        graph(
            "Behind",
            "Age of the oldest record that a topic's readers have not read.",
            "s",
            Query(greatest("penstock_queue_lag_seconds", OF_MODEL, "topic"), topic),
        ),
        graph(
            "Records waiting",
            "Records that a topic's readers have not read; ends of transactions may count too.",
            "short",
            Query(f"sum by (topic) ({greatest('penstock_queue_lag_records', OF_MODEL, 'topic, partition')})", topic),
        ),
        graph(
            "Records in",
            "Records a second that are written to a topic.",
            "ops",
            Query(f"sum by (topic) (deriv(({ends})[5m:]))", topic),
        ),
        graph(
            "Records out",
            "Records a second that a topic's readers have dealt with.",
            "ops",
            Query(f"sum by (topic) (deriv(({committed})[5m:]))", topic),
        ),
        graph(
            "Dead letters in the topic",
            "Dead letters that are kept, by model and reason.",
            "short",
            Query(greatest("penstock_queue_dead_letters", OF_MODEL, "model, reason"), "{{model}} {{reason}}"),
            stacked=True,
        ),
        graph(
            "Age of these figures",
            "How old what is shown here is; it grows while the brokers do not answer.",
            "s",
            Query(greatest("penstock_queue_figures_age_seconds", HERE, "component"), "{{component}}"),
        ),
    ]


def _workers() -> list[object]:
    commit = "penstock_worker_commit_seconds"
    states = ("isolating", "broken", "stopped")
    return [
        graph(
            "Records",
            "Requests a second that were read, and predictions and dead letters that were committed.",
            "ops",
            Query(rate("penstock_worker_records_total", _WORKER), "requests read"),
            Query(rate("penstock_worker_predictions_total", _WORKER), "predictions"),
            Query(rate("penstock_worker_dead_letters_total", _WORKER), "dead letters"),
        ),
        graph(
            "Dead letters by reason",
            "Dead letters a second that were committed, by reason.",
            "ops",
            Query(rate("penstock_worker_dead_letters_total", _WORKER, "model, reason"), "{{model}} {{reason}}"),
            stacked=True,
        ),
        graph(
            "Commit",
            "Time from a transaction's begin to its end.",
            "s",
            Query(mean(commit, _WORKER), "mean"),
            Query(quantile(0.99, commit, _WORKER), "p99"),
        ),
        graph(
            "Transactions",
            "Transactions a second that were committed, and that failed by how: what failed is done again.",
            "ops",
            Query(rate("penstock_worker_transactions_total", _WORKER), "committed"),
            Query(rate("penstock_worker_aborts_total", _WORKER, "failure"), "{{failure}}"),
        ),
        graph(
            "Held",
            "Records that workers hold: read and not committed, in the pipeline, waiting for another try.",
            "short",
            Query(total("penstock_worker_held_records", _WORKER), "held"),
            Query(total("penstock_worker_predicting_records", _WORKER), "in the pipeline"),
            Query(total("penstock_worker_retrying_records", _WORKER), "waiting for another try"),
        ),
        graph(
            "Bytes held",
            "Bytes of the records that workers hold.",
            "bytes",
            Query(total("penstock_worker_held_bytes", _WORKER, "pod"), "{{pod}}"),
        ),
        graph(
            "Oldest held",
            "Age of the oldest record that a worker has read and not committed.",
            "s",
            Query(greatest("penstock_worker_oldest_seconds", _WORKER, "pod"), "{{pod}}"),
        ),
        graph(
            "Partitions",
            "Partitions that a worker reads, and those of them that are paused.",
            "short",
            Query(total("penstock_worker_partitions", _WORKER, "pod"), "{{pod}}"),
            Query(total("penstock_worker_paused_partitions", _WORKER, "pod"), "{{pod}} paused"),
        ),
        graph(
            "Retries and rebalances",
            "Tries that found predictor or store away, records given up to another worker, and changes of partitions, a second.",
            "ops",
            Query(rate("penstock_worker_retries_total", _WORKER), "retries"),
            Query(rate("penstock_worker_dropped_total", _WORKER), "given up"),
            Query(rate("penstock_worker_rebalances_total", _WORKER), "rebalances"),
        ),
        graph(
            "Not as it should be",
            "Workers that try records alone after a crash, whose commits fail, that have stopped for good.",
            "short",
            *(Query(total(f"penstock_worker_{state}", _WORKER), state) for state in states),
        ),
    ]


def _by_id() -> list[object]:
    return [
        graph(
            "Submitted",
            "Predictions a second that were handed in; repeated: with an idempotency key that was known.",
            "ops",
            Query(rate("penstock_predictions_submitted_total", HERE, "outcome"), "{{outcome}}"),
        ),
        graph(
            "Not ended",
            "Predictions in the database that wait or are being processed.",
            "short",
            Query(greatest("penstock_queue_predictions", OF_MODEL, "model, state"), "{{model}} {{state}}"),
        ),
        graph(
            "Oldest not ended",
            "Age of the oldest of them.",
            "s",
            Query(greatest("penstock_queue_predictions_oldest_seconds", OF_MODEL, "model"), "{{model}}"),
        ),
        graph(
            "Waiting for the relay",
            "Predictions that are not published to Kafka yet.",
            "short",
            Query(greatest("penstock_relay_waiting", HERE), "waiting"),
        ),
        graph(
            "Oldest for the relay",
            "Age of the oldest of them.",
            "s",
            Query(greatest("penstock_relay_oldest_seconds", HERE), "oldest"),
        ),
        graph(
            "Relay",
            "Predictions a second that were published; batches taken over from a relay that died, and faults.",
            "ops",
            Query(rate("penstock_relay_published_total", HERE), "published"),
            Query(rate("penstock_relay_batches_total", HERE), "batches"),
            Query(rate("penstock_relay_takeovers_total", HERE), "taken over"),
            Query(rate("penstock_relay_faults_total", HERE), "faults"),
        ),
        graph(
            "Sink",
            "Records a second by what came of them.",
            "ops",
            Query(rate("penstock_sink_records_total", HERE, "outcome"), "{{outcome}}"),
            Query(rate("penstock_sink_faults_total", HERE), "tried again"),
        ),
        graph(
            "Held by the sink",
            "Records that are read and not written yet.",
            "short",
            Query(total("penstock_sink_held", HERE), "held"),
        ),
        graph(
            "Webhooks",
            "Attempts a second to deliver a webhook, by outcome.",
            "ops",
            Query(rate("penstock_webhook_attempts_total", HERE, "outcome"), "{{outcome}}"),
        ),
        graph(
            "Under way",
            "Submissions on their way into the database, callers that follow a prediction, webhooks.",
            "short",
            Query(total("penstock_predictions_submits_in_flight", HERE), "submissions"),
            Query(total("penstock_predictions_followers", HERE), "followers"),
            Query(total("penstock_webhooks_in_flight", HERE), "webhooks"),
        ),
    ]
