"""Many rows as many NDJSON requests of a bounded size, each of which may be repeated; answers come in the rows' order.

A body that is sent while its answer is read needs both sides to read and write at once, which neither httpx nor a browser does
over HTTP/1.1; so rows go in chunks, each a request of its own. Memory holds the chunks in flight, whatever there are in all.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from penstock.client.call import Answer, Call, path_of
from penstock.client.predicting import dumped
from penstock.client.reading import prediction_of
from penstock.client.refusals import error_of
from penstock.client.results import Prediction, RefusedRow
from penstock.errors import InvalidInput, UpstreamUnavailable

ROWS_PER_REQUEST = 500
REQUESTS_AT_ONCE = 4
_NDJSON = "application/x-ndjson"

Found = Prediction | RefusedRow


def chunks(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """The rows in lists of at most `size`, each with the number of its first. Raises InvalidInput for a size below 1."""
    if size < 1:
        raise InvalidInput(f"expected 1 or more, got {size}", field="rows_per_request")
    remaining = iter(rows)
    for first in itertools.count(0, size):
        chunk = list(itertools.islice(remaining, size))
        if not chunk:
            return
        yield first, chunk


def predict_lines(model: str, rows: Sequence[Mapping[str, Any]], first: int, data: bool) -> Call[list[Found]]:
    """Predict for a chunk of rows whose first is row `first` of all: a prediction or a refusal for each, in their order."""
    path = path_of("/models/{}/predict", model, data=None if data else "false")
    body = b"\n".join(map(dumped, rows)) + b"\n"

    def read(answer: Answer) -> list[Found]:
        lines = [line for line in answer.body.split(b"\n") if line]
        if len(lines) != len(rows):
            raise UpstreamUnavailable(f"the answer holds {len(lines)} lines for {len(rows)} rows: {_last(lines)}")
        return [_found(line, answer, first + at) for at, line in enumerate(lines)]

    return Call("POST", path, read, body, {"content-type": _NDJSON, "accept": _NDJSON})


def _found(line: bytes, answer: Answer, row: int) -> Found:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UpstreamUnavailable(f"a line of the answer is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UpstreamUnavailable("a line of the answer is no JSON object")
    if "error" not in document:
        return prediction_of(document, str(document.get("bundle") or answer.bundle))
    status = document.get("status")
    return RefusedRow(row, error_of(Answer(status if isinstance(status, int) else 500, answer.headers, line)))


def _last(lines: list[bytes]) -> str:
    """What the last line says, which is where an answer that ends early says why."""
    return lines[-1][:200].decode("utf-8", "replace") if lines else "nothing"
