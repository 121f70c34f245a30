"""The schema of the predictions database, the same for SQLite and PostgreSQL.

    predictions          one row each, written when it is submitted, claimed (without a broker), ended
    intents              what is still to be published, or to be taken from the table as the queue: written with its prediction in
                         one transaction, gone when it is published (relay) or ended (queue), so it stays small and its index hot
    relay_slots          places for relays (`relay.port`): an epoch that fences, and at most one batch that is not marked yet
    queue_holders        processes that take from the table as the queue, each with the end of its lease
    webhook_deliveries   what is still to be told to callers: written with the ending in one transaction

Sequences order predictions as they came and are never given twice. Times are in s of the Unix epoch. A change here needs a
migration (`migrations/versions`): a test holds the two together.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "penstock_pk_%(table_name)s",
        "fk": "penstock_fk_%(table_name)s_%(column_0_name)s",
        "uq": "penstock_uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "penstock_ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# SQLite numbers rows by itself only where the type is exactly INTEGER, which there holds 64 bits as well.
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SECONDS: sa.Double[float] = sa.Double()

predictions = sa.Table(
    "penstock_predictions",
    metadata,
    sa.Column("sequence", _SEQUENCE, sa.Identity(always=True), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_s", _SECONDS, nullable=False),
    sa.Column("started_s", _SECONDS),
    sa.Column("ended_s", _SECONDS),
    sa.Column("keep_s", _SECONDS),
    sa.Column("expires_s", _SECONDS),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("webhook", sa.Text),
    # The record on Kafka. Headers are MessagePack of [[name, value], …], in their order.
    sa.Column("record_key", sa.LargeBinary),
    sa.Column("headers", sa.LargeBinary, nullable=False),
    sa.Column("input_body", sa.LargeBinary),
    sa.Column("input_headers", sa.LargeBinary, nullable=False),
    sa.Column("input_nbytes", sa.BigInteger, nullable=False),
    sa.Column("input_reference", sa.Text),
    # What came of it. `result_nbytes` says whether there is a result.
    sa.Column("bundle", sa.Text, nullable=False, server_default=""),
    sa.Column("kind", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("field", sa.Text),
    sa.Column("result_body", sa.LargeBinary),
    sa.Column("result_headers", sa.LargeBinary),
    sa.Column("result_nbytes", sa.BigInteger),
    sa.Column("result_reference", sa.Text),
    sqlite_autoincrement=True,
)
sa.Index("penstock_ix_predictions_owner", predictions.c.owner, predictions.c.sequence)
sa.Index(
    "penstock_ix_predictions_key",
    predictions.c.owner,
    predictions.c.idempotency_key,
    unique=True,
    postgresql_where=predictions.c.idempotency_key.is_not(None),
    sqlite_where=predictions.c.idempotency_key.is_not(None),
)
sa.Index(
    "penstock_ix_predictions_expires",
    predictions.c.expires_s,
    postgresql_where=predictions.c.expires_s.is_not(None),
    sqlite_where=predictions.c.expires_s.is_not(None),
)

intents = sa.Table(
    "penstock_intents",
    metadata,
    sa.Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    sa.Column("prediction_id", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("record_key", sa.LargeBinary),
    sa.Column("nbytes", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("created_s", _SECONDS, nullable=False),
    # Who has taken it: a relay's slot, with the number of its batch, or a holder of the queue. None: it waits.
    sa.Column("holder", sa.Text),
    sa.Column("batch", sa.BigInteger),
)
sa.Index(
    "penstock_ix_intents_waiting",
    intents.c.model,
    intents.c.priority,
    intents.c.sequence,
    postgresql_where=intents.c.holder.is_(None),
    sqlite_where=intents.c.holder.is_(None),
)
sa.Index(
    "penstock_ix_intents_holder",
    intents.c.holder,
    intents.c.batch,
    postgresql_where=intents.c.holder.is_not(None),
    sqlite_where=intents.c.holder.is_not(None),
)

relay_slots = sa.Table(
    "penstock_relay_slots",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("until_s", _SECONDS, nullable=False),
    sa.Column("batch", sa.BigInteger, nullable=False),
    sa.Column("pending", sa.Boolean, nullable=False),
)

queue_holders = sa.Table(
    "penstock_queue_holders",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("until_s", _SECONDS, nullable=False),
)

# One ending, one webhook: `id` is its webhook-id. `due_s` is when it may be claimed: its next attempt, or the end of the lease of
# whoever has it. `body` was fixed with the ending and outlives the prediction.
webhook_deliveries = sa.Table(
    "penstock_webhook_deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("prediction_id", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("due_s", _SECONDS, nullable=False),
    sa.Column("lease", sa.Text),
)
sa.Index("penstock_ix_webhook_deliveries_due", webhook_deliveries.c.due_s)
