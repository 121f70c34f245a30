"""The query of the predict routes: `?model=` and the options of a body that has no place for them."""

from typing import Any
from urllib.parse import parse_qsl

from penstock.errors import InvalidInput
from penstock_transformer.http.cells import WrongCell, typed
from penstock_transformer.http.json_rows import check_options

_OPTION_TYPES = {"data": "bool"}


def asked(query: bytes, *, model_allowed: bool = False) -> tuple[str | None, dict[str, Any] | None]:
    """Model and options of a query. Raises InvalidInput for what it does not know."""
    if not query:
        return None, None
    model = None
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "model" and model_allowed:
            model = text
            continue
        if name == "labels":
            # One a label: a label may hold any character that a separator could be.
            options.setdefault(name, []).append(text)
            continue
        try:
            options[name] = typed(text, _OPTION_TYPES.get(name))
        except WrongCell as error:
            raise InvalidInput(str(error), field=f"options.{name}") from None
    check_options(options)
    return model, options or None
