"""Structured logs: one JSON object a line on stdout, constant event text, everything that varies in a field.

    {"time": "2026-01-02T03:04:05.678Z", "level": "info", "event": "request failed", "model": "flights", "request_id": "…"}

A caller logs as usual: `logger.info("event text", extra={"model": …, "duration_ms": …})`. The fields in use everywhere are
`model`, `bundle`, `request_id`, `batch_size` and `duration_ms`. Payloads, feature values and credentials are never logged.

A fault is logged as where it happened and of which type, without its text: that often repeats the value that caused it
(`could not convert string to float: '…'`), which was somebody's request. At level debug the text is there.
"""

import json
import logging
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON. Values that JSON does not know are written as their `str`."""

    def __init__(self, *, fault_texts: bool = False) -> None:
        super().__init__()
        self._fault_texts = fault_texts

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        if record.exc_info:
            error = record.exc_info[1]
            if self._fault_texts or error is None:
                line["exception"] = self.formatException(record.exc_info)
            else:
                line["exception"] = without_texts(error)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()
        except TypeError:  # text with lone surrogates, integers over 64 bits: a caller's JSON can hold both, and fields repeat it
            return json.dumps(line, default=str, skipkeys=True)


def without_texts(error: BaseException) -> str:
    """A traceback, causes first, with the types of its exceptions and not what they say."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"{frames}{type(current).__module__}.{type(current).__qualname__}".replace("builtins.", ""))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n\nThen:\n\n".join(reversed(parts))


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every logger's records to `stream` (default stdout) as JSON lines. Replaces whatever was configured before."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stdout)
    handler.setFormatter(JsonFormatter(fault_texts=level == "debug"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
    # uvicorn tells of its start and stop in texts of its own; the server here logs both with fields.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.captureWarnings(True)


class Sampled:
    """Lets at most `per_second` lines a second of each event through, and counts what it kept back.

    A flood of failing requests must not become a flood of log lines: those cost more than refusing the requests does.
    """

    def __init__(self, per_second: int = 10) -> None:
        self._per_second = per_second
        self._seen: dict[str, tuple[int, int]] = {}

    def admit(self, event: str, now: float | None = None) -> int | None:
        """None to keep a line back; otherwise the number of lines kept back since the last second that had some."""
        second = int(time.monotonic() if now is None else now)
        last, count = self._seen.get(event, (second, 0))
        if last == second:
            self._seen[event] = (second, count + 1)
            return 0 if count < self._per_second else None
        self._seen[event] = (second, 1)
        return max(0, count - self._per_second)
