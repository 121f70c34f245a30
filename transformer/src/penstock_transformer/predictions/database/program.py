"""`penstock-transformer migrate`: brings the predictions database to this release's schema, and ends.

Every program that opens the database does it by itself; this one is for who runs it under another user than theirs, who may
not change tables, or before a roll-out.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import PenstockError
from penstock.logs import configure
from penstock.settings import parse, setting
from penstock_transformer.predictions.database.migrating import HEAD
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.settings import PREFIX

DESCRIPTION = "Bring the predictions database to this release's schema."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MigrateSettings:
    """What `penstock-transformer migrate` takes."""

    database: str = setting(text="Where predictions are kept: sqlite:///PATH or postgresql://.", secret=True)


async def migrate(url: str) -> None:
    """Raises InvalidInput, UpstreamUnavailable."""
    predictions = open_predictions(url)
    try:
        await predictions.start(patient=False)
    finally:
        await predictions.close()


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 when the schema is this release's, 1 if it cannot be, 2 for wrong options."""
    arguments = sys.argv[1:] if argv is None else argv
    settings = parse(
        MigrateSettings, arguments, os.environ, PREFIX, program="penstock-transformer migrate", description=DESCRIPTION
    )
    configure()
    try:
        asyncio.run(migrate(settings.database))
    except PenstockError as error:
        logger.error("predictions database not migrated", extra={"reason": str(error)})
        sys.exit(1)
    logger.info("predictions database is up to date", extra={"revision": HEAD})
