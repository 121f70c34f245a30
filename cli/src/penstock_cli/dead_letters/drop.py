"""`penstock dead-letters drop`: left out of what is shown and replayed."""

from penstock_cli.dead_letters.seeing_to import seeing_to
from penstock_transformer.worker.dead_letter_box import DeadLetterBox

command = seeing_to(
    "drop",
    "dropped",
    DeadLetterBox.drop,
    """Leave dead letters of MODEL out of what is listed and replayed from now on.

    Nothing is deleted: the topic keeps them for as long as it keeps records, and `list --all` shows them.
    """,
)
