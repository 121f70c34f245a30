"""What Alembic runs: the migrations, on the connection and in the transaction that `migrating.py` hands over."""

from alembic import context

from penstock_transformer.predictions.database.migrating import VERSION_TABLE
from penstock_transformer.predictions.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,  # the transaction is ours
)
context.run_migrations()
