"""What goes wrong on the command line, as the user reads it: one line with the fault, one with what to do, no stack trace.

    PenstockError, OSError, UsageError, Failure --> `Error: …` on stderr and an exit status (1 for faults, 2 for wrong usage)

A `Command` makes Failures of its errors, whether a program or a test runs it; `run_reported` does for everything around it.
Anything else is a fault of ours: the message says so and names the log line to send with a report.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from penstock.errors import ErrorKind, PenstockError

# What can be done about an error that does not know a remedy of its own.
_REMEDIES: dict[ErrorKind, str] = {
    ErrorKind.UPSTREAM_UNAVAILABLE: "Is it running, and is the address right?",
    ErrorKind.OVERLOADED: "Try again in a moment.",
    ErrorKind.NOT_READY: "Try again in a moment; /readyz says what it waits for.",
}


class Failure(click.ClickException):
    """An error with its remedy; shown as `Error: …` and the remedy on a line of its own."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message + (f"\n{remedy}" if remedy else ""))


class Command(click.Command):
    """A command whose PenstockErrors, and errors of files, become Failures."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read the output has gone; the program ends quietly.
            raise
        except (PenstockError, OSError) as error:
            raise failure_of(error) from None


def failure_of(error: PenstockError | OSError) -> Failure:
    """The failure that says what an error means to a user, with what can be done about it."""
    if isinstance(error, PenstockError):
        # What waiting does not mend is running, and was found.
        return Failure(str(error), _REMEDIES.get(error.kind) if error.retryable else None)
    return Failure(f"{error.filename or 'system'}: {error.strerror or error}")


def run_reported(command: Callable[[], object]) -> int:
    """Run a command; its exit status, after what went wrong was said on stderr."""
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain about it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (PenstockError, OSError) as error:
        failure_of(error).show()
        return 1
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Exception as error:
        return _report_fault(error)


def _report_fault(error: Exception) -> int:
    if os.environ.get("PENSTOCK_DEBUG"):
        traceback.print_exc()
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = f"a fault in penstock: {type(error).__name__} at {os.path.basename(where.filename)}:{where.lineno}: {error}"
    Failure(message, "Please report it; PENSTOCK_DEBUG=1 shows where it happened.").show()
    return 70
