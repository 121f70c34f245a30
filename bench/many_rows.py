"""Rows a second when callers send 32 rows a request, beside the model called by hand with the same batch.

    python bench/many_rows.py [--models small,large] [--rounds 3] [--seconds 4] [--json]

The predictor on one core, wrk on the other with 64 connections; the session in a loop, on the predictor's core, before each.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peer_models
from command_line import command_line, parsed, show
from peer_table import PEERS
from peers import HEADLINE, bodies, floor, load, running
from rig import medians, post_script, require

ROWS = 32
MODELS = ("small", "large", "trees", "words")
FORMS = {"JSON": peer_models.v2_json, "binary": peer_models.v2_binary}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    given = parsed(parser)
    require("bench/many_rows.py", "wrk", "taskset")
    show(given, measure(given.models.split(","), given.rounds, given.seconds), table)


def measure(models: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Rows/s of the predictor by model and form, and of the session by model; how many times ours the session's is."""
    served: dict[tuple[str, str], list[dict[str, float]]] = {}
    raw: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = peer_models.save(Path(folder), models)
        for _ in range(rounds):
            for model in models:
                print(model, file=sys.stderr, flush=True)
                raw.setdefault(model, []).append({"rows_per_s": floor(files[model], model)[str(ROWS)]})
                for form, found in _serve(model, files[model], seconds).items():
                    served.setdefault((model, form), []).append(found)
    by_hand = {model: medians(found)["rows_per_s"] for model, found in raw.items()}
    rows = [
        {"model": model, "form": form, "session_rows_per_s": by_hand[model]} | medians(found)
        for (model, form), found in served.items()
    ]
    ratios = {f"{row['model']}, {row['form']}": round(row["session_rows_per_s"] / row["rows_per_s"], 2) for row in rows}
    return {"bench": "many_rows", "rows": rows, "ratios": ratios}


def _serve(model: str, file: Path, seconds: float) -> dict[str, dict[str, float]]:
    peer = PEERS["penstock"]
    served = {}
    with running(peer, file, model) as (start, pid, _):
        for form, make in FORMS.items():
            script = start.directory / f"{form}.lua"
            script.write_text(post_script(*bodies(make, model, ROWS)))
            found = load(f"http://127.0.0.1:{start.port}{peer.path}", pid, script, HEADLINE, seconds)
            served[form] = {"rows_per_s": found["requests_per_s"] * ROWS, "cpu_us_per_row": found["cpu_us"] / ROWS}
    return served


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield f"| {ROWS} rows a request, {HEADLINE} connections | form | rows/s | session, rows/s | times ours | CPU us a row |"
    yield "|---|---|---|---|---|---|"
    for row in result["rows"]:
        ratio = result["ratios"][f"{row['model']}, {row['form']}"]
        title = peer_models.MODELS[row["model"]].title
        yield (
            f"| {title} | {row['form']} | {row['rows_per_s']:,.0f} | {row['session_rows_per_s']:,.0f} | {ratio} "
            f"| {row['cpu_us_per_row']} |"
        )


if __name__ == "__main__":
    main()
