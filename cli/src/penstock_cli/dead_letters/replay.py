"""`penstock dead-letters replay`: back into the requests, each once."""

from penstock_cli.dead_letters.seeing_to import seeing_to
from penstock_transformer.worker.dead_letter_box import DeadLetterBox

command = seeing_to(
    "replay",
    "replayed",
    DeadLetterBox.replay,
    """Put dead letters of MODEL back into its requests, byte for byte as they came.

    A letter and the mark that it was replayed are written in one transaction: the command can be stopped at any moment and run
    again, and no letter is replayed twice or passed over. Ends with 1 if some could not be replayed.
    """,
)
