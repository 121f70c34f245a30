"""The command line that benchmarks share: how often, how long, how nicely, and how the result is shown.

    parser = command_line(__doc__, seconds=2.0)          --rounds, --seconds, --nice and --json; then what the benchmark adds
    given = parsed(parser)
    show(given, measure(given.rounds, given.seconds), table)

bench/run.py starts each with `--rounds`, `--seconds` and `--json`: one that has no use for one of them takes it nevertheless.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


def command_line(
    description: str | None,
    *,
    rounds: int = 3,
    seconds: float | None = 4.0,
    rounds_help: str | None = None,
    seconds_help: str | None = None,
) -> argparse.ArgumentParser:
    """The parser, with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=rounds_help)
    parser.add_argument("--seconds", type=float, default=seconds, help=seconds_help)
    parser.add_argument(
        "--nice", type=int, default=0, help="niceness of server and load; below 0 (root) on a machine with other work"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What was given; this process, and what it starts, is as nice as that says."""
    given = parser.parse_args()
    if given.nice:
        os.nice(given.nice)
        with suppress(OSError):
            # Linux weighs sessions against each other first, and only then processes within one.
            Path("/proc/self/autogroup").write_text(str(given.nice))
    return given


def show(given: argparse.Namespace, result: dict[str, Any], table: Callable[[dict[str, Any]], Iterator[str]]) -> None:
    """Print the result: as one JSON object, or as the benchmark's table of it."""
    print(json.dumps(result, indent=1) if given.json else "\n".join(table(result)))
