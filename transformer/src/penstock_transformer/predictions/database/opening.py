"""From `--database URL` to predictions that are kept there: SQLAlchemy and the drivers are imported with this module.

predictions = open_predictions("sqlite:///predictions.db")
await predictions.start()
"""

from penstock_transformer.predictions.database.address import read_address
from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.predictions import DatabasePredictions
from penstock_transformer.predictions.database.settings import DEFAULT, DatabaseSettings


def open_predictions(url: str, settings: DatabaseSettings = DEFAULT) -> DatabasePredictions:
    """Predictions in the database at `url`, nothing connected yet: `await predictions.start()`.

    Raises InvalidInput for a URL that is none of a known database.
    """
    return DatabasePredictions(Engine(read_address(url), settings))
