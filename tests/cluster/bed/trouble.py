"""What stops the bed: one error whose message says what is wrong and what to do about it. Nothing else is shown to a user."""


class BedError(Exception):
    """The cluster could not be made, reached or taken down; the message is for whoever ran the command."""
