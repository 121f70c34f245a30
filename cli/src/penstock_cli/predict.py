"""`penstock predict`: rows, a file or a stored record to a running server, and its predictions as a table or as JSON.

--row | --file | --record | --image --> POST /models/{m}/predict, GET /predict/{id} --> table | JSON
"""

import json
import mimetypes
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from penstock_cli.errors import Failure
from penstock_cli.server_client import Server

_TYPES = {".csv": "text/csv", ".json": "application/json"}
_WIDEST = 40


@click.command("predict", short_help="Ask a running server for predictions.")
@click.option(
    "--url", default="http://127.0.0.1:8080", envvar="PENSTOCK_PREDICT_URL", show_default=True, help="Where the server listens."
)
@click.option("--model", help="Name of the model; needed where several are served.")
@click.option("--record", "records", multiple=True, metavar="ID", help="Predict for a stored record, by its id. May be repeated.")
@click.option(
    "--row", "rows", multiple=True, metavar="JSON", help="A row of features, such as '{\"distance\": 500}'. May be repeated."
)
@click.option(
    "--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Rows in a .csv or .json file."
)
@click.option(
    "--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="An image, for a model that takes one."
)
@click.option("--json", "as_json", is_flag=True, help="Print the server's answers as JSON, one a line.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="PENSTOCK_PREDICT_KEY_FILE",
    help="File with an API key or token to send.",
)
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file that an https server is checked by."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait for an answer.",
)
def predict(
    url: str,
    model: str | None,
    records: tuple[str, ...],
    rows: tuple[str, ...],
    file: Path | None,
    image: Path | None,
    as_json: bool,
    timeout: float,
    key_file: Path | None,
    ca: Path | None,
) -> None:
    """Send rows, a file, an image, or the ids of stored records; show the predictions."""
    if sum(map(bool, (records, rows, file, image))) != 1:
        raise click.UsageError("give one of --record, --row, --file and --image")
    server = Server(url, timeout, key_file=key_file, ca=ca)
    if records:
        query = "" if model is None else f"?model={quote(model, safe='')}"
        answers = [(record, server.get(f"/predict/{quote(record, safe='')}{query}")) for record in records]
    else:
        content_type, body = _body(rows, file, image)
        answers = [("", server.post(f"/models/{quote(model or _only_model(server), safe='')}/predict", body, content_type))]
    if as_json:
        for _, answer in answers:
            click.echo(json.dumps(answer, ensure_ascii=False))
        return
    _show(answers)


def _only_model(server: Server) -> str:
    models = server.get("/v1/models").get("models", [])
    if len(models) == 1:
        return str(models[0])
    raise Failure(f"{server.url} serves {', '.join(models) or 'no model'}", "Say which with --model.")


def _body(rows: tuple[str, ...], file: Path | None, image: Path | None) -> tuple[str, bytes]:
    """Content type and body of a predict request."""
    if image is not None:
        return mimetypes.guess_type(image.name)[0] or "application/octet-stream", image.read_bytes()
    if file is not None:
        kind = _TYPES.get(file.suffix.lower())
        if kind is None:
            raise Failure(f"--file {file}: expected a .csv or .json file")
        data = file.read_bytes()
        return kind, b'{"rows": ' + data + b"}" if kind == "application/json" and data.lstrip()[:1] == b"[" else data
    return "application/json", json.dumps({"rows": [_row(text, at) for at, text in enumerate(rows)]}).encode()


def _row(text: str, at: int) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(f"--row {at + 1}: not JSON: {error}", "Write it like --row '{\"distance\": 500}'.") from None
    if not isinstance(row, dict):
        raise Failure(f'--row {at + 1}: expected an object like {{"distance": 500}}')
    return row


def _show(answers: list[tuple[str, dict[str, Any]]]) -> None:
    """Predictions as a table, one a line, under the bundle that made them."""
    if not all(isinstance(answer.get("predictions"), list) for _, answer in answers):
        raise Failure("the answer holds no predictions", "Is that a Penstock server? --json shows what it said.")
    for bundle in dict.fromkeys(str(answer.get("bundle")) for _, answer in answers):
        click.echo(bundle)
    lines = [(record or str(at), prediction) for record, answer in answers for at, prediction in enumerate(answer["predictions"])]
    shown = [{"row": name} | _cells(prediction) for name, prediction in lines]
    click.echo(table(shown))


def _cells(prediction: dict[str, Any]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name in ("label", "value"):
        if name in prediction:
            cells[name] = _text(prediction[name])
    for label, score in (prediction.get("scores") or {}).items():
        cells[f"score {label}"] = _text(score)
    for name, output in (prediction.get("outputs") or {}).items():
        cells[name] = _text(output)
    if prediction.get("defaulted"):
        cells["defaulted"] = ", ".join(prediction["defaulted"])
    return cells


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def table(rows: list[dict[str, str]]) -> str:
    """Rows as aligned text under their column names; a missing cell is empty, a long one is cut."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names] + [[_cut(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
