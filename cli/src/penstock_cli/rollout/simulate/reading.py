"""What users give a simulation: margins, speeds, a ModelVersion's file, a file of rates; each told at fault by its field."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from penstock.errors import InvalidInput
from penstock_operator.model_version import Margins, Rollout

_MARGINS = {"errorRate": "error_rate", "latencyP99": "latency_p99", "outputDrift": "output_drift", "disagreement": "disagreement"}


def read_rollout(path: Path | None) -> Rollout:
    """`spec.rollout` of the ModelVersion in a YAML file; the defaults without one. Raises InvalidInput."""
    if path is None:
        return Rollout()
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text()) if isinstance(one, dict)]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not YAML: {error}", field=str(path)) from None
    found = next((one for one in documents if one.get("kind") == "ModelVersion"), None)
    if found is None:
        raise InvalidInput("expected a ModelVersion, found none", field=str(path))
    try:
        return msgspec.convert((found.get("spec") or {}).get("rollout") or {}, Rollout)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), field=f"{path}: spec.rollout") from None


def read_margins(text: str, margins: Margins) -> Margins:
    """`errorRate=0.01,latencyP99=1.5` put into margins. Raises InvalidInput naming what cannot be read."""
    changed: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, size = part.partition("=")
        try:
            changed[_MARGINS[name.strip()]] = float(size)
        except (KeyError, ValueError):
            raise InvalidInput(
                f"expected NAME=SIZE with a name of {', '.join(_MARGINS)}, got {part!r}", field="--margins"
            ) from None
    return msgspec.structs.replace(margins, **changed)


def read_speed(text: str | None) -> tuple[float, float]:
    """`2` or `1:0.5`: how many times as long, and the spread of its logarithm; (1, 0) of None. Raises InvalidInput."""
    matched = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(?::([0-9]+(?:\.[0-9]+)?))?", text or "1")
    if matched is None or not 0.01 <= float(matched[1]) <= 100 or float(matched[2] or 0) > 3:
        raise InvalidInput(f"expected TIMES or TIMES:SPREAD, such as 2 or 1:0.5, got {text!r}", field="--caller-speed")
    return float(matched[1]), float(matched[2] or 0)


def read_rates(path: Path) -> tuple[float, ...]:
    """Requests a second, minute by minute: the last column of a CSV file, header or not. Raises InvalidInput naming the line."""
    rates: list[float] = []
    with path.open(newline="") as lines:
        for number, row in enumerate(csv.reader(lines), start=1):
            try:
                rates.append(float(row[-1]))
            except (ValueError, IndexError):
                if number > 1:
                    raise InvalidInput(f"expected requests a second, got {','.join(row)!r}", field=f"{path}:{number}") from None
    if not rates or not all(0 <= rate < math.inf for rate in rates) or not sum(rates):
        raise InvalidInput("expected requests a second, 0 or more and not all 0, a minute a line", field=str(path))
    return tuple(rates)
