"""What replay and drop have in common: which letters are meant must be said, and what came of it is told, good or not.

seeing_to("drop", "dropped", DeadLetterBox.drop, ...) -> the command
"""

import sys
from collections.abc import Callable
from typing import Any

import click

from penstock_cli.dead_letters.choosing import broker, choices, names_of, open_box, wanted_of
from penstock_cli.errors import Command, Failure
from penstock_transformer.broker.port import Fenced, Retriable
from penstock_transformer.worker.dead_letter_box import DeadLetterBox, Report, Wanted

See = Callable[[DeadLetterBox, Wanted, int | None], Report]


def seeing_to(name: str, done: str, see: See, text: str) -> click.Command:
    """The command `name MODEL`: `see` is made of the letters that its options choose; `done` is the verb's past, `text` its help.

    It ends with 1 if some of them could not be seen to, or if no letter has an id that was named.
    """

    def command(
        model: str,
        reason: str | None,
        since: float | None,
        ids: tuple[str, ...],
        everything: bool,
        limit: int | None,
        **options: Any,
    ) -> int:
        check_chosen(reason, since, ids, everything)
        box, wanted = open_box(model, options), wanted_of(reason, since, ids)
        report = seen_to(lambda: see(box, wanted, limit), done)
        # What was done is said by now, whatever becomes of this.
        unseen = without_letter(box, ids, report, done) if limit is None else []
        for why in unseen:
            click.echo(f"not {done}  {why}", err=True)
        return 1 if report.refused or unseen else 0

    made = Command(
        name,
        callback=command,
        help=text,
        params=[
            click.Argument(["model"]),
            click.Option(["--all", "everything"], is_flag=True, help="All that have not been replayed or dropped."),
            click.Option(["--limit"], type=click.IntRange(1), help="At most so many."),
        ],
    )
    return broker(choices(made))


def check_chosen(reason: str | None, since: float | None, ids: tuple[str, ...], everything: bool) -> None:
    """Raises UsageError unless it was said which letters are meant."""
    chosen = reason is not None or since is not None or bool(ids)
    if chosen == everything:
        raise click.UsageError("expected --all, or which are meant: --id, --reason, --since")


def without_letter(box: DeadLetterBox, ids: tuple[str, ...], report: Report, done: str) -> list[str]:
    """Which of the ids that were asked for came to nothing, each with the reason. One for which the same was done before is none
    of them: the command may be run again."""
    met = {name for letter in (*report.done, *(letter for letter, _ in report.refused)) for name in names_of(letter)}
    unmet = [identity for identity in ids if identity not in met]
    if not unmet:
        return []
    # Oldest first: of several that an id names the newest counts.
    filed = box.find(Wanted(ids=frozenset(unmet), done=True), sys.maxsize)
    marks = {name: mark for letter, mark in filed for name in names_of(letter)}
    found = []
    for identity in unmet:
        mark = marks.get(identity)
        if identity not in marks:
            found.append(f"{identity}: there is no such dead letter")
        elif mark is None:
            found.append(f"{identity}: it is none of those that --reason and --since name")
        elif mark.what != done:
            found.append(f"{identity}: it was {mark.what} before")
    return found


def seen_to(call: Callable[[], Report], done: str) -> Report:
    """Make the call and print what came of it. Raises Failure where it could not be ended."""
    try:
        report = call()
    except Fenced:
        raise Failure(
            f"another program began to see to these dead letters meanwhile; what was {done} stays {done}",
            "Run this again once it is done: no letter is taken twice.",
        ) from None
    except Retriable as error:
        raise Failure(str(error), f"What was {done} stays {done}; run this again for the rest.") from None
    for letter in report.done:
        click.echo(f"{done}  {letter.place}  {letter.id}")
    for letter, why in report.refused:
        click.echo(f"not {done}  {letter.place}  {letter.id}: {why}", err=True)
    refused = f", {len(report.refused)} not" if report.refused else ""
    click.echo(f"{len(report.done)} {done}{refused}", err=True)
    return report
