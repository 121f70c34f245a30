"""The first schema: predictions, their intents, relays' slots, the queue's holders, deliveries of webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "penstock_predictions",
        sa.Column("sequence", SEQUENCE, sa.Identity(always=True), primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("started_s", sa.Double),
        sa.Column("ended_s", sa.Double),
        sa.Column("keep_s", sa.Double),
        sa.Column("expires_s", sa.Double),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("webhook", sa.Text),
        sa.Column("record_key", sa.LargeBinary),
        sa.Column("headers", sa.LargeBinary, nullable=False),
        sa.Column("input_body", sa.LargeBinary),
        sa.Column("input_headers", sa.LargeBinary, nullable=False),
        sa.Column("input_nbytes", sa.BigInteger, nullable=False),
        sa.Column("input_reference", sa.Text),
        sa.Column("bundle", sa.Text, nullable=False, server_default=""),
        sa.Column("kind", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("field", sa.Text),
        sa.Column("result_body", sa.LargeBinary),
        sa.Column("result_headers", sa.LargeBinary),
        sa.Column("result_nbytes", sa.BigInteger),
        sa.Column("result_reference", sa.Text),
        sa.UniqueConstraint("id", name="penstock_uq_penstock_predictions_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("penstock_ix_predictions_owner", "penstock_predictions", ["owner", "sequence"])
    with_key = sa.text("idempotency_key IS NOT NULL")
    op.create_index(
        "penstock_ix_predictions_key",
        "penstock_predictions",
        ["owner", "idempotency_key"],
        unique=True,
        postgresql_where=with_key,
        sqlite_where=with_key,
    )
    expiring = sa.text("expires_s IS NOT NULL")
    op.create_index(
        "penstock_ix_predictions_expires",
        "penstock_predictions",
        ["expires_s"],
        postgresql_where=expiring,
        sqlite_where=expiring,
    )
    op.create_table(
        "penstock_intents",
        sa.Column("sequence", SEQUENCE, primary_key=True, autoincrement=False),
        sa.Column("prediction_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("record_key", sa.LargeBinary),
        sa.Column("nbytes", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("batch", sa.BigInteger),
    )
    waits = sa.text("holder IS NULL")
    op.create_index(
        "penstock_ix_intents_waiting",
        "penstock_intents",
        ["model", "priority", "sequence"],
        postgresql_where=waits,
        sqlite_where=waits,
    )
    held = sa.text("holder IS NOT NULL")
    op.create_index(
        "penstock_ix_intents_holder", "penstock_intents", ["holder", "batch"], postgresql_where=held, sqlite_where=held
    )
    op.create_table(
        "penstock_relay_slots",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("until_s", sa.Double, nullable=False),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("pending", sa.Boolean, nullable=False),
    )
    op.create_table(
        "penstock_queue_holders",
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("until_s", sa.Double, nullable=False),
    )
    op.create_table(
        "penstock_webhook_deliveries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("prediction_id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("due_s", sa.Double, nullable=False),
        sa.Column("lease", sa.Text),
    )
    op.create_index("penstock_ix_webhook_deliveries_due", "penstock_webhook_deliveries", ["due_s"])


def downgrade() -> None:
    """Remove all tables, and with them every prediction."""
    for table in ("webhook_deliveries", "queue_holders", "relay_slots", "intents", "predictions"):
        op.drop_table(f"penstock_{table}")
