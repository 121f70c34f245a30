"""The verdict of a verification as the operator reads it from the container's termination message: JSON of at most 4 KiB.

    {"ok", "digest", "kind", "field", "message", "model_bytes", "peak_memory_bytes", "seconds", "profile"}

`kind` is the check that failed: fetch, layout, digest, load, memory, golden, rows. `profile` has an object a size.
A container that is killed for its memory leaves none; the kubelet says so in its place.
"""

import sys
import time
from pathlib import Path
from typing import Any

import orjson

from penstock_predictor.loading import LoadedModel
from penstock_predictor.profile import peak_bytes, resident_bytes

MAX_BYTES = 4096
_MESSAGE = 1024


class Report:
    """What is found out on the way."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.document: dict[str, Any] = {"ok": False, "digest": "", "kind": None, "field": None, "message": ""}

    def measure(self, loaded: LoadedModel) -> None:
        """Take down what a loaded model costs. Its peak is that of its largest measured run, on top of what is resident."""
        costs = loaded.profile.as_json()
        largest = max((cost["memory_bytes"] for cost in costs), default=0)
        files = loaded.manifest.files.values()
        self.document |= {
            "digest": loaded.digest,
            "model_bytes": sum(file.bytes for file in files),
            "peak_memory_bytes": max(peak_bytes(), resident_bytes() + largest),
            "profile": costs,
        }

    def conclude(self, failed: tuple[str, str | None, str] | None) -> None:
        """The verdict: which check failed, in which field, with what message; None if none did."""
        self.document["seconds"] = round(time.monotonic() - self._began, 3)
        if failed is None:
            self.document["ok"] = True
            return
        kind, field, message = failed
        if field and message.startswith(f"{field}: "):
            message = message[len(field) + 2 :]
        self.document |= {"kind": kind, "field": field[:256] if field else None, "message": message[:_MESSAGE]}


def write_report(path: Path, report: Report) -> None:
    """Leave the report in a file. One that cannot be written is told on stderr: the verdict is the exit status, too."""
    text = orjson.dumps(report.document)
    while len(text) > MAX_BYTES:
        # Sizes in the middle say the least; a report that is cut off would say nothing.
        costs = report.document.get("profile") or []
        if len(costs) > 2:
            report.document["profile"] = [costs[0], *costs[2::2], *([costs[-1]] if len(costs) % 2 == 0 else [])]
        else:
            report.document |= {"profile": [], "message": report.document["message"][: len(report.document["message"]) // 2]}
        text = orjson.dumps(report.document)
    try:
        path.write_bytes(text)
    except OSError as error:
        print(f"penstock-predictor: {path}: {error.strerror}", file=sys.stderr)
