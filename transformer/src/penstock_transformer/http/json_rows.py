"""The JSON form of a predict request: `{"rows": [{feature or key: value}], "options": {}}`.

The plain form is read in one typed pass; only what that pass refuses is looked at again, to say which field was wrong.
"""

import re
from typing import Any

import msgspec

from penstock.errors import InvalidInput, TooLarge
from penstock.protocol.reading import not_json, number_beyond
from penstock_transformer.nearest import did_you_mean
from penstock_transformer.requests import Row

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_OPTIONS = {"data": (bool, "true or false"), "labels": (list, "a list of labels")}


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A predict request's body."""

    rows: list[Row]
    options: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(Body).decode


def json_rows(body: bytes, *, most_rows: int) -> tuple[list[Row], dict[str, Any] | None]:
    """Rows and options of a body. Raises InvalidInput naming the field, TooLarge for more than `most_rows`."""
    try:
        document = _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _explained(error, body) from None
    if len(document.rows) > most_rows:
        raise TooLarge(f"expected at most {most_rows} rows, got {len(document.rows)}", field="rows")
    if document.options:
        check_options(document.options)
    return document.rows, document.options


def check_options(options: dict[str, Any]) -> None:
    """Raises InvalidInput for an option that does not exist or has the wrong type."""
    for name, value in options.items():
        if name not in _OPTIONS:
            raise InvalidInput(f"unknown option; {did_you_mean(name, _OPTIONS)}", field=f"options.{name[:60]}")
        kind, expected = _OPTIONS[name]
        if type(value) is not kind:
            raise InvalidInput(f"expected {expected}, got {type(value).__name__}", field=f"options.{name}")
        if isinstance(value, list):
            for at, element in enumerate(value):
                if type(element) is not str:
                    raise InvalidInput(f"expected a string, got {type(element).__name__}", field=f"options.{name}[{at}]")


def _explained(error: Exception, body: bytes) -> InvalidInput:
    """What was wrong with a body, in our words and with the path of the field."""
    if not body.strip():
        return InvalidInput('expected JSON like {"rows": [{}]}, got an empty body', field="body")
    if isinstance(error, RecursionError):
        return InvalidInput("the JSON is nested too deeply", field="body")
    if isinstance(error, UnicodeDecodeError):
        return InvalidInput(f"expected JSON in UTF-8, got invalid text at byte {error.start} of a string", field="body")
    if not isinstance(error, msgspec.ValidationError):
        return InvalidInput(not_json(error, body), field="body")
    match = _PLACE.match(str(error))
    what, path = (match["what"], match["path"]) if match else (str(error), None)
    field = path.removeprefix(".") if path else "body"
    if found := _UNKNOWN.fullmatch(what):
        return InvalidInput("unknown field; expected rows and options", field=found["name"][:60])
    if found := _MISSING.fullmatch(what):
        return InvalidInput("missing; expected a list of objects, one a row", field=found["name"])
    if field.endswith("[...]"):
        # The typed pass names the row of a number that no float holds, and not the cell.
        field = number_beyond(body) or field.removesuffix("[...]")
    what = what.replace("`", "")
    return InvalidInput(what[:1].lower() + what[1:], field=field)
