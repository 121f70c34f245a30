"""YAML documents as plain values, read without any of YAML's surprises, and written so that they read back equal.

Reading works on the parser's events and knows only maps with distinct string keys, lists and scalars. Anchors, aliases and tags
are refused, so a document is as large as its text; nesting and length are limited. Scalars follow YAML 1.2's core schema: `NO`,
`on`, `12:30` and `2020-01-01` are text. Every error says where.
"""

import math
import re
from typing import Any

import yaml

from penstock.errors import InvalidInput, TooLarge

MAX_BYTES = 64 << 20
MAX_DEPTH = 20

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(text: str | bytes, what: str) -> dict[str, Any]:
    """The mapping that a YAML text holds; `what` names the file in errors. Raises InvalidInput, or TooLarge over the limits."""
    if len(text) > MAX_BYTES:
        raise TooLarge(f"{len(text)} bytes, the limit is {MAX_BYTES}", field=what)
    try:
        value = _Reader(text, what).document()
    except yaml.YAMLError as error:
        raise InvalidInput(_place(error), field=what) from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"expected UTF-8 text: {error.reason} at byte {error.start}", field=what) from None
    if not isinstance(value, dict):
        raise InvalidInput(f"expected a mapping of fields, got {_name_of(value)}", field=what)
    return value


class _Reader:
    """One pass over the events of a text."""

    def __init__(self, text: str | bytes, what: str) -> None:
        self.what = what
        self.events = yaml.parse(text.decode() if isinstance(text, bytes) else text, Loader=_Loader)

    def document(self) -> Any:
        events = [next(self.events), next(self.events)]
        if not isinstance(events[-1], yaml.DocumentStartEvent):
            return None
        value = self.value(next(self.events), "", 0)
        next(self.events)
        if not isinstance(next(self.events), yaml.StreamEndEvent):
            raise InvalidInput("expected one document, got several", field=self.what)
        return value

    def value(self, event: Any, path: str, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise InvalidInput("anchors and aliases are not allowed; write the value out", field=self.at(path, event))
        if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag == "tag:yaml.org,2002:str"):
            raise InvalidInput(f"tags are not allowed, got {event.tag!r}", field=self.at(path, event))
        if depth > MAX_DEPTH:
            raise TooLarge(f"nested more than {MAX_DEPTH} deep", field=self.at("", event))
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event.value) if event.implicit[0] and event.tag is None else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path, depth)
        return self.mapping(path, depth)

    def sequence(self, path: str, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self.value(event, f"{path}[{len(items)}]", depth + 1))
        return items

    def mapping(self, path: str, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise InvalidInput("expected a name before the colon", field=self.at(path, event))
            name = f"{path}.{event.value}" if path else event.value
            if event.value in fields:
                raise InvalidInput("given twice", field=self.at(name, event))
            fields[event.value] = self.value(next(self.events), name, depth + 1)
        return fields

    def at(self, path: str, event: Any) -> str:
        return f"{self.what} line {event.start_mark.line + 1}{': ' + path if path else ''}"


def write_document(value: dict[str, Any]) -> str:
    """YAML text for plain values, in their own order; `read_document` reads the same values back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=130, default_flow_style=None)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes whatever either YAML version would read as something other than text; writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _write_text(dumper: _Dumper, text: str) -> yaml.Node:
    plain_elsewhere = _scalar(text) is not text or any(
        ord(c) < 32 or 0x7F <= ord(c) <= 0xA0 or ord(c) in (0x2028, 0x2029, 0xFEFF) for c in text
    )
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if plain_elsewhere else None)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(float, lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:float", _number_text(number)))


def _number_text(number: float) -> str:
    if math.isnan(number):
        return ".nan"
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    text = repr(float(number))
    return text if "." in text or "e" not in text else text.replace("e", ".0e", 1)


def _scalar(text: str) -> Any:
    if text.lower() in _WORDS and text in (text.lower(), text.capitalize(), text.upper()):
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 400 else text
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def _name_of(value: Any) -> str:
    return {type(None): "nothing", list: "a list"}.get(type(value), repr(value)[:60])


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    return f"not YAML: {problem}" + (f" at line {mark.line + 1}, column {mark.column + 1}" if mark else "")
