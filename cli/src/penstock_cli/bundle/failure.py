"""Commands whose errors become one line with the field, whichever way they are run: from the program or from a test."""

from typing import Any

import click

from penstock.errors import PenstockError
from penstock_cli.errors import Failure

__all__ = ["Command", "Failure"]


class Command(click.Command):
    """A command whose PenstockErrors, and errors of files, become failures."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PenstockError as error:
            raise Failure(str(error), getattr(error, "remedy", None)) from None
        except BrokenPipeError:
            # Whoever read the output has gone; the program ends quietly.
            raise
        except OSError as error:
            raise Failure(f"{error.filename or 'file'}: {error.strerror or error}") from None
