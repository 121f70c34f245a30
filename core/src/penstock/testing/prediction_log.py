"""A small prediction log with outcomes, for tests of whatever reads one: labels and numbers, of a bundle that answers and of a
shadow.

    write_prediction_log(root, labelled="flights", numbers="trips") -> LOG/<model>/predictions, …/outcomes: lines of JSON

The lines are as a process that was killed leaves them.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COSTS = {"late": {"on time": 40}}
_ROWS = 4


def write_prediction_log(root: Path, *, labelled: str, numbers: str) -> None:
    """Four rows of each model and mode, a minute old. Of the labels two are right, one is wrong, and one outcome names a label
    that the bundle lacks."""
    now_s = time.time()
    for model, told in ((labelled, _labels), (numbers, _numbers)):
        predictions, outcomes = root / model / "predictions", root / model / "outcomes"
        predictions.mkdir(parents=True)
        outcomes.mkdir()
        for shadow in (False, True):
            given = [(f"{model}-{number}-{shadow}", *each) for number, each in enumerate(told())]
            logged = [_logged(model, identity, now_s - 60, answer, shadow) for identity, answer, _ in given]
            known = [{"id": identity, "row": 0, "time": now_s, "received": now_s, **true} for identity, _, true in given]
            _write(predictions / f"open-{shadow}.jsonl", logged)
            _write(outcomes / f"open-{shadow}.jsonl", known)


def _labels() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for number, true in enumerate(("on time", "late", "late", "Late")):
        late = 0.2 + 0.2 * number
        label = "late" if late > 0.5 else "on time"
        yield {"label": label, "scores": {"on time": 1 - late, "late": late}}, {"label": true}


def _numbers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for number in range(_ROWS):
        yield {"value": 0.2 + 0.2 * number}, {"value": 0.4}


def _logged(model: str, identity: str, time_s: float, answer: dict[str, Any], shadow: bool) -> dict[str, Any]:
    return {
        "formatVersion": 1,
        "id": identity,
        "time": time_s,
        "model": model,
        "bundle": "sha256:" + "1" * 64,
        "name": model,
        "version": "1",
        "chance": 1.0,
        "rows": [{"row": {}, "fetched": {}, "answer": answer}],
        "shadow": shadow,
        "revision": 1,
        "costs": _COSTS if "label" in answer else None,
    }


def _write(path: Path, documents: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
