"""Parameters: a map from names to one-of-several values on the wire, a plain dict everywhere else."""

from collections.abc import Mapping
from typing import Any

import orjson

from penstock.errors import InvalidInput
from penstock.protocol.wording import quote

Scalar = str | int | float | bool

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)


def read_parameters(wire: Any, field: str) -> dict[str, Any]:
    """The dict of a parameter map. Raises InvalidInput naming a parameter whose value is of no kind."""
    found: dict[str, Any] = {}
    for name, parameter in wire.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            where = name if name.isidentifier() and len(name) <= 80 else quote(name)
            raise InvalidInput("expected a value of one kind, got nothing", field=f"{field}.{where}")
        found[name] = getattr(parameter, choice)
    return found


def write_parameters(parameters: Mapping[str, Any], wire: Any) -> None:
    """Fill a parameter map; what is no scalar of the protocol travels as JSON in a string, None not at all."""
    for name, value in parameters.items():
        if isinstance(value, bool):
            wire[name].bool_param = value
        elif isinstance(value, int) and value in _INT64:
            wire[name].int64_param = value
        elif isinstance(value, int) and value in _UINT64:
            wire[name].uint64_param = value
        elif isinstance(value, int):
            wire[name].string_param = str(value)
        elif isinstance(value, float):
            wire[name].double_param = value
        elif isinstance(value, str):
            wire[name].string_param = value
        elif value is not None:
            wire[name].string_param = orjson.dumps(value, default=str).decode()
