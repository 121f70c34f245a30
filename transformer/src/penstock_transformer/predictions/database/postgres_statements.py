"""The three statements that every prediction passes, for PostgreSQL: submit, claim, end, each one round trip and a transaction.

Groups go as arrays, an element a row, straight to the driver: through SQLAlchemy, a statement at a time, each would cost six to
eight round trips, and the CPU of ten submits. Names and types come from the tables.

Locks: a claim waits for nobody (SKIP LOCKED on both tables). An end locks predictions by sequence, then intents by sequence; who
gives back locks intents by sequence. So nobody waits in a circle.

News are told by `pg_notify` in the statement itself; its rows have no sequence.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from penstock_transformer.predictions.database.rows import CLAIM, OPEN
from penstock_transformer.predictions.database.tables import intents, predictions

CHANGES, ARRIVALS = "penstock_changes", "penstock_arrivals"
# Between the ids of one notification; no id has it, as ids are printable.
SEPARATOR = "\n"
# PostgreSQL takes 7,999 bytes in one notification: so many ids of ordinary length, or a long one by itself.
_IDS_AT_ONCE, _ORDINARY_BYTES, _MOST_BYTES = 100, 60, 7900

SUBMIT = (
    "id", "owner", "model", "state", "rows", "priority", "created_s", "keep_s", "idempotency_key", "digest", "webhook",
    "record_key", "headers", "input_body", "input_headers", "input_nbytes", "input_reference",
)  # fmt: skip
END = (
    "id", "state", "ended_s", "bundle", "kind", "message", "field",
    "result_body", "result_headers", "result_nbytes", "result_reference",
)  # fmt: skip

_P, _I = predictions.name, intents.name
_OPEN = ", ".join(f"'{state}'" for state in OPEN)


def _arrays(names: Sequence[str]) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    types = [predictions.c[name].type.compile(dialect) for name in names]
    return ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(types, 1))


def _listed(names: Sequence[str], table: str = "") -> str:
    return ", ".join(f'{table}"{name}"' for name in names)


def _told(rows: str) -> str:
    """Rows of notifications of these rows (id, state, place)."""
    separator = "chr(10)"
    group = f"CASE WHEN octet_length(id) <= {_ORDINARY_BYTES} THEN place / {_IDS_AT_ONCE} ELSE -place END"
    return (
        f"SELECT pg_notify('{CHANGES}', state || {separator} || string_agg(id, {separator}))::text FROM {rows} "
        f"WHERE octet_length(id) <= {_MOST_BYTES} AND position({separator} IN id) = 0 GROUP BY state, {group}"
    )


def submit_statement() -> str:
    """Arrays of `SUBMIT` -> rows (id, sequence) of those that were new."""
    columns = _listed(SUBMIT)
    intent = "sequence, {}, model, record_key, {}, priority, created_s"
    return (
        f"WITH kept AS (INSERT INTO {_P} ({columns}) SELECT * FROM unnest({_arrays(SUBMIT)}) ON CONFLICT DO NOTHING "
        f"RETURNING {intent.format('id', 'input_nbytes')}), "
        f"published AS (INSERT INTO {_I} ({intent.format('prediction_id', 'nbytes')}) "
        f"SELECT {intent.format('id', 'input_nbytes')} FROM kept) "
        "SELECT id, sequence FROM kept "
        f"UNION ALL SELECT pg_notify('{ARRIVALS}', model)::text, NULL FROM (SELECT DISTINCT model FROM kept) AS models"
    )


def claim_statement() -> str:
    """$1 model, $2 at most so many, $3 holder, $4 at most so many bytes -> rows of `CLAIM`, in no order, and their places."""
    names = [column.name for column in CLAIM]
    nothing = ", ".join("NULL" for name in names if name not in ("sequence", "id"))
    return (
        f"WITH waiting AS (SELECT i.sequence, i.nbytes, i.priority FROM {_I} AS i JOIN {_P} AS p ON p.sequence = i.sequence "
        "WHERE i.model = $1 AND i.holder IS NULL ORDER BY i.priority, i.sequence LIMIT $2 FOR UPDATE SKIP LOCKED), "
        "counted AS (SELECT sequence, row_number() OVER (ORDER BY priority, sequence) AS place, "
        "sum(nbytes) OVER (ORDER BY priority, sequence) AS total FROM waiting), "
        "taken AS (SELECT sequence, place FROM counted WHERE place = 1 OR total <= $4), "
        f"held AS (UPDATE {_I} AS i SET holder = $3, batch = NULL FROM taken WHERE i.sequence = taken.sequence), "
        f"started AS (UPDATE {_P} AS p SET state = 'processing', "
        "started_s = coalesce(p.started_s, extract(epoch FROM clock_timestamp())) FROM taken "
        f"WHERE p.sequence = taken.sequence AND p.state IN ({_OPEN}) RETURNING {_listed(names, 'p.')}, p.state, taken.place) "
        f"SELECT {_listed(names)}, place FROM started "
        f"UNION ALL SELECT NULL, told, {nothing}, NULL FROM ({_told('started')}) AS news(told)"
    )


def end_statement() -> str:
    """Arrays of `END`, ids different -> rows (id, sequence) of those that ended by it, and (id, -1) of those that have a webhook
    and are still to be ended, by the way that writes it."""
    columns = _listed(END)
    values = ", ".join(f'"{name}" = open."{name}"' for name in END[1:])
    return (
        f"WITH given AS (SELECT * FROM unnest({_arrays(END)}) AS given({columns})), "
        # With all that is given: a join of two of these, whose sizes the planner does not know, would compare all with all.
        f"open AS (SELECT p.sequence, p.keep_s, p.webhook, given.* FROM {_P} AS p JOIN given ON given.id = p.id "
        f"WHERE p.state IN ({_OPEN}) ORDER BY p.sequence FOR UPDATE OF p), "
        f"ended AS (UPDATE {_P} AS p SET {values}, expires_s = open.ended_s + open.keep_s "
        "FROM open WHERE p.sequence = open.sequence AND open.webhook IS NULL "
        "RETURNING p.sequence, p.id, p.state), "
        f"locked AS (SELECT i.sequence FROM {_I} AS i JOIN ended ON ended.sequence = i.sequence "
        "ORDER BY i.sequence FOR UPDATE OF i), "
        f"gone AS (DELETE FROM {_I} AS i USING locked WHERE i.sequence = locked.sequence), "
        "placed AS (SELECT id, state, row_number() OVER (ORDER BY sequence) AS place FROM ended) "
        "SELECT id, sequence FROM ended UNION ALL SELECT id, -1 FROM open WHERE webhook IS NOT NULL "
        f"UNION ALL SELECT told, NULL FROM ({_told('placed')}) AS news(told)"
    )


def notify_statement(channel: str, payload: str) -> sa.Select[tuple[object]]:
    """Tell this, within the transaction that it is executed in."""
    return sa.select(sa.func.pg_notify(channel, payload))
