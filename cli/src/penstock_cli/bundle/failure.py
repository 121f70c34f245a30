"""What goes wrong, as the command line says it: one line with the field and a remedy, exit code 1, no stack trace."""

from typing import Any

import click

from penstock.errors import PenstockError


class Failure(click.ClickException):
    """An error on purpose; shown as `Error: …`, with `remedy` on a line of its own."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message + (f"\n{remedy}" if remedy else ""))


class Command(click.Command):
    """A command whose PenstockErrors, and errors of files, become failures."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PenstockError as error:
            raise Failure(str(error), getattr(error, "remedy", None)) from None
        except OSError as error:
            raise Failure(f"{error.filename or 'file'}: {error.strerror or error}") from None
