"""Stored features: how fast they are read, how old they are, which are missing, and the streams that write them."""

from monitoring.board import MODEL, NAMESPACE, Board
from monitoring.panels import Level, Query, graph, heat, number
from monitoring.terms import HERE, OF_MODEL, RATE, greatest, mean, quantile, rate

_READ = "penstock_store_read_seconds"
_STREAM = f'{HERE}, component="updates"'


def board() -> Board:
    """Reads by the chosen models; updates of the namespace."""
    made = Board("feature-store", "Feature store", "Reads, ages, missing values, streamed updates.", NAMESPACE, MODEL)
    made.row("Now", *_numbers())
    made.row("Reads", *_reads())
    made.row("Values", *_values())
    made.row("Streamed updates", *_updates())
    return made


def _of_rows(counter: str, by: str) -> str:
    return f"{rate(counter, OF_MODEL, by)} / scalar({rate('penstock_store_rows_total', OF_MODEL)} > 0)"


def _numbers() -> list[object]:
    return [
        number("Reads", "Reads a second: one a batch, or two.", "ops", Query(rate(f"{_READ}_count", OF_MODEL))),
        number(
            "p99",
            "99 of 100 reads take at most this long.",
            "s",
            Query(quantile(0.99, _READ, OF_MODEL)),
            Level(0.05, "orange"),
            Level(0.5, "red"),
        ),
        number(
            "Errors",
            "Batches a second whose read failed.",
            "ops",
            Query(rate("penstock_transformer_store_errors_total", OF_MODEL)),
            Level(0.001, "red"),
        ),
        number(
            "Answered with defaults",
            "Requests a second answered with defaults because the store was away.",
            "reqps",
            Query(rate("penstock_transformer_degraded_total", OF_MODEL)),
            Level(0.001, "orange"),
        ),
        number(
            "Too old",
            "Share of rows for which a stored value was older than its maximum age.",
            "percentunit",
            Query(f"{_of_rows('penstock_store_stale_rows_total', '')}"),
            Level(0.01, "orange"),
            Level(0.1, "red"),
            decimals=2,
        ),
        number(
            "Updates behind",
            "How long the last streamed update had been in its topic when it was written.",
            "s",
            Query(greatest("penstock_updates_behind_seconds", _STREAM)),
            Level(60, "orange"),
            Level(600, "red"),
        ),
    ]


def _reads() -> list[object]:
    return [
        graph(
            "Time of a read",
            "Mean and 99 of 100; a read is of a whole batch.",
            "s",
            Query(mean(_READ, OF_MODEL), "mean"),
            Query(quantile(0.99, _READ, OF_MODEL), "p99"),
        ),
        heat(
            "Time of a read, spread",
            "How many reads took how long.",
            "s",
            Query(f"sum by (le) (increase({_READ}_bucket{{{OF_MODEL}}}[{RATE}]))", "{{le}}"),
        ),
        graph(
            "Keys a read",
            "Entity keys that one read looks up, on average; the more, the better the batches.",
            "short",
            Query(
                f"{rate('penstock_store_keys_total', OF_MODEL, 'model')} / ({rate(f'{_READ}_count', OF_MODEL, 'model')} > 0)",
                "{{model}}",
            ),
        ),
        graph(
            "Keys and rows",
            "Entity keys a second that are looked up, and rows that get their features.",
            "ops",
            Query(rate("penstock_store_keys_total", OF_MODEL), "keys"),
            Query(rate("penstock_store_rows_total", OF_MODEL), "rows"),
        ),
        graph(
            "Failed reads",
            "Batches a second whose read failed, and requests that were answered with defaults therefore.",
            "ops",
            Query(rate("penstock_transformer_store_errors_total", OF_MODEL, "model"), "{{model}} failed"),
            Query(rate("penstock_transformer_degraded_total", OF_MODEL, "model"), "{{model}} answered with defaults"),
        ),
    ]


def _values() -> list[object]:
    return [
        graph(
            "Age of the oldest value",
            "Age of the oldest stored value that the newest batches used, by set.",
            "s",
            Query(greatest("penstock_store_value_age_seconds", OF_MODEL, "model, set"), "{{model}} {{set}}"),
        ),
        graph(
            "Rows with too old values",
            "Share of rows for which a set's values were older than its maximum age.",
            "percentunit",
            Query(_of_rows("penstock_store_stale_rows_total", "model, set"), "{{model}} {{set}}"),
        ),
        graph(
            "Rows that the store lacks",
            "Share of rows for which the store holds nothing of a set.",
            "percentunit",
            Query(_of_rows("penstock_store_absent_rows_total", "model, set"), "{{model}} {{set}}"),
        ),
        graph(
            "Defaults",
            "Share of rows in which a feature's default stands for its value: the ten most frequent.",
            "percentunit",
            Query(f"topk(10, {_of_rows('penstock_feature_defaulted_rows_total', 'model, feature')})", "{{model}} {{feature}}"),
        ),
        graph(
            "Refused",
            "Share of rows that were refused for want of a feature: the ten most frequent.",
            "percentunit",
            Query(f"topk(10, {_of_rows('penstock_feature_refused_rows_total', 'model, feature')})", "{{model}} {{feature}}"),
        ),
    ]


def _updates() -> list[object]:
    return [
        graph(
            "Updates",
            "Updates a second that changed the store, that were late or repeated, and that became dead letters.",
            "ops",
            Query(rate("penstock_updates_written_total", _STREAM), "written"),
            Query(rate("penstock_updates_unchanged_total", _STREAM), "late or repeated"),
            Query(rate("penstock_updates_refused_total", _STREAM), "refused"),
            stacked=True,
        ),
        graph(
            "Behind",
            "How long the last update that was written had been in its topic.",
            "s",
            Query(greatest("penstock_updates_behind_seconds", _STREAM, "pod"), "{{pod}}"),
        ),
        graph(
            "Updates a write",
            "Updates that one write of the store takes, on average.",
            "short",
            Query(
                f"{rate('penstock_worker_records_total', _STREAM)} / ({rate('penstock_updates_batches_total', _STREAM)} > 0)",
                "updates",
            ),
        ),
        graph(
            "Held",
            "Updates that were read and are not committed, and those that wait for the store to be back.",
            "short",
            Query(f"sum(penstock_worker_held_records{{{_STREAM}}})", "held"),
            Query(f"sum(penstock_worker_retrying_records{{{_STREAM}}})", "waiting for the store"),
        ),
        graph(
            "Oldest held",
            "Age of the oldest update that was read and is not committed.",
            "s",
            Query(greatest("penstock_worker_oldest_seconds", _STREAM, "pod"), "{{pod}}"),
        ),
    ]
