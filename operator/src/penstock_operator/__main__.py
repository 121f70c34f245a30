"""`penstock-operator`: ModelVersions to InferenceServices and routes."""

import gc
import os
import sys
from collections.abc import Sequence

import uvloop

from penstock.errors import PenstockError
from penstock.logs import configure
from penstock.settings import parse
from penstock_operator.program import operate
from penstock_operator.settings import PREFIX, OperatorSettings

DESCRIPTION = "Take ModelVersions from verification to all requests, and back."
COLLECT_AFTER_OBJECTS = 10_000


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after SIGTERM, 1 if there is no API server that it may ask, 2 for wrong options."""
    arguments = sys.argv[1:] if argv is None else argv
    settings = parse(OperatorSettings, arguments, os.environ, PREFIX, program="penstock-operator", description=DESCRIPTION)
    configure(settings.log_level)
    # What was imported lives as long as the process, and what a look makes goes by itself: the collector finds next to nothing.
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    try:
        uvloop.run(operate(settings))
    except (PenstockError, OSError) as error:
        sys.exit(f"penstock-operator: {error}")


if __name__ == "__main__":
    main()
