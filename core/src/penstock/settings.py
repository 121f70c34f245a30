"""Settings: one frozen dataclass a program, read once from the command line and the environment, then handed down.

    @dataclass(frozen=True, kw_only=True)
    class ExampleSettings:
        http_port: int = setting(8080, "Port of the HTTP API.")
        max_delay_ms: float = setting(0.0, "Wait this long for a fuller batch; 0 switches waiting off.", unit="ms")

    settings = parse(ExampleSettings, sys.argv[1:], os.environ, "PENSTOCK_EXAMPLE")

Options are spelled as KServe injects them, with underscores; hyphens work too. The command line wins over the environment
(`PENSTOCK_EXAMPLE_HTTP_PORT`), which wins over the default. A secret may also be in a file that a variable names
(`PENSTOCK_EXAMPLE_FEATURE_STORE_FILE`); one with a password in it is refused on the command line, which everybody on the
machine can read. Every field says what it means, its unit and its default: `--help`
is made from that, and a field without a text is refused.
"""

import argparse
import dataclasses
import difflib
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

S = TypeVar("S")

# What KServe's controller and its docs' examples add to a container's arguments and that has no meaning here. Each takes a value.
KSERVE_ARGUMENTS = frozenset(
    {
        "predictor_protocol", "predictor_use_ssl", "predictor_request_timeout_seconds", "predictor_request_retries",
        "enable_docs_url", "enable_latency_logging", "enable_grpc", "max_threads", "max_asyncio_workers",
        "grpc_max_send_message_length", "grpc_max_receive_message_length", "access_log_format", "log_config_file",
        "configure_logging", "explainer_host", "enable_predictor_health_check",
    }
)  # fmt: skip

# Names this much alike (difflib's ratio) are one name and a slip of the hand.
_MISSPELT = 0.75

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def setting(
    default: Any = dataclasses.MISSING,
    text: str = "",
    *,
    unit: str | None = None,
    secret: bool = False,
    password: bool = False,
    choices: Sequence[str] | None = None,
    metavar: str | None = None,
    least: float = 0,
    most: float | None = None,
) -> Any:
    """A field of a settings class: its default (left out: required), what it means, its unit; `secret` values are never shown,
    not in `repr` either. A `password` is a secret as a whole, and so refused on the command line.

    `least` and `most` bound numbers, `choices` are all that text may be.
    """
    if not text:
        raise TypeError("a setting needs a text that says what it means")
    metadata = {
        "text": text,
        "unit": unit,
        "secret": secret or password,
        "password": password,
        "choices": choices,
        "metavar": metavar,
        "least": least,
        "most": most,
    }
    return dataclasses.field(default=default, metadata=metadata, repr=not (secret or password))


def parse(
    settings_class: type[S],
    argv: Sequence[str],
    env: Mapping[str, str],
    prefix: str,
    *,
    program: str | None = None,
    description: str | None = None,
    ignored: frozenset[str] = KSERVE_ARGUMENTS,
    injected: frozenset[str] = frozenset(),
) -> S:
    """Read `settings_class` from `argv` and `env` (variables `<prefix>_<FIELD>`).

    Prints and exits as argparse does: 0 after --help, 2 with the option or variable at fault after a wrong value. Options named
    in `ignored` are accepted and have no effect. Where all of `injected` are given, somebody else than the user has a hand in the
    command line: an unknown option is then left out with a warning, unless it looks like one of ours misspelt
    (docs/decisions/0007-unknown-options.md).
    """
    parser = build_parser(settings_class, prefix, program=program, description=description)
    given, unknown = parser.parse_known_args([_underscored(argument) for argument in argv])
    ours = {field.name for field in _fields(settings_class)}
    if injected and all(hasattr(given, name) for name in injected):
        ignored |= _strangers(parser, unknown, ours | ignored)
    _refuse_unknown(parser, unknown, ignored, ours)
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(settings_class)
    for field in _fields(settings_class):
        variable = variable_name(prefix, field.name)
        if hasattr(given, field.name):
            values[field.name] = getattr(given, field.name)
            in_clear = field.metadata.get("password") or has_password(str(values[field.name]))
            if field.metadata.get("secret") and in_clear:
                parser.error(f"--{field.name}: {PASSWORD_SHOWN.format(variable=variable)}")
            continue
        text = secret_in_file(variable, env, parser.error) if field.metadata.get("secret") else env.get(variable)
        if text is not None:
            try:
                values[field.name] = read_value(field, hints[field.name], text)
            except ValueError as error:
                parser.error(f"environment variable {variable}: {error}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            parser.error(f"--{field.name} (or {variable}) is required: {field.metadata['text']}")
    try:
        return settings_class(**values)
    except ValueError as error:
        parser.error(str(error))


def build_parser(
    settings_class: type[Any], prefix: str, *, program: str | None = None, description: str | None = None
) -> argparse.ArgumentParser:
    """The argparse parser of a settings class, also for documentation."""
    parser = argparse.ArgumentParser(program, description=description, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    hints = typing.get_type_hints(settings_class)
    for field in _fields(settings_class):
        kind = hints[field.name]
        options: dict[str, Any] = {"help": _help(field, prefix), "dest": field.name, "type": _converter(field, kind)}
        if kind is bool:
            options |= {"nargs": "?", "const": True, "metavar": "true|false"}
        else:
            options["metavar"] = field.metadata.get("metavar") or field.name.upper()
        parser.add_argument(f"--{field.name}", **options)
    return parser


PASSWORD_SHOWN = (
    "everybody on this machine can read a password on a command line; "
    "give it as {variable}, or as the file that {variable}_FILE names"
)
# Up to the last @: a password that should have been percent-encoded is hidden whole, too.
_USER = re.compile(r"(?<=://)[^\s/]\S*@")
_OPTION = re.compile(r"(?<=[?&])(password|passwd|sslpassword|token|secret)=[^&\s]*", re.IGNORECASE)


def hide_password(text: str) -> str:
    """A URL, or a text with one in it, for a message: whatever may be a user and a password is `***`."""
    return _OPTION.sub(r"\1=***", _USER.sub("***@", text))


def has_password(text: str) -> bool:
    """Whether a URL holds a password."""
    found = _USER.search(text)
    return (found is not None and ":" in found[0]) or _OPTION.search(text) is not None


def secret_in_file(variable: str, env: Mapping[str, str], fail: Callable[[str], Any]) -> str | None:
    """A secret's text from its variable, or from the file that `<variable>_FILE` names; None if neither is set. `fail` is told
    what is wrong, and does not return."""
    path = env.get(f"{variable}_FILE")
    if path is None:
        return env.get(variable)
    if variable in env:
        fail(f"expected {variable} or {variable}_FILE, not both")
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{variable}_FILE: cannot read {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}")
        return None


def variable_name(prefix: str, field: str) -> str:
    """The environment variable of a field."""
    return f"{prefix}_{field}".upper()


def variables(settings_class: type[Any], prefix: str) -> list[str]:
    """Every environment variable that `parse` reads for this class."""
    names = [variable_name(prefix, field.name) for field in _fields(settings_class)]
    secrets = [variable_name(prefix, field.name) for field in _fields(settings_class) if field.metadata.get("secret")]
    return names + [f"{name}_FILE" for name in secrets]


def shown(settings: Any) -> dict[str, Any]:
    """Settings as a dict for the log, secrets masked."""
    return {
        field.name: "***" if field.metadata.get("secret") and getattr(settings, field.name) else getattr(settings, field.name)
        for field in _fields(type(settings))
    }


def read_value(field: dataclasses.Field[Any], kind: Any, text: str) -> Any:
    """A field's value, of type `kind`, from its text. Raises ValueError with what was expected."""
    value = convert(text, kind)
    choices, least, most = (field.metadata[name] for name in ("choices", "least", "most"))
    if choices and value not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}, got {value!r}")
    if type(value) in (int, float) and (value < least or (most is not None and value > most)):
        raise ValueError(f"expected {least:g} {'or more' if most is None else f'to {most:g}'}, got {text}")
    return value


def convert(text: str, kind: Any) -> Any:
    """A value of type `kind` (bool, int, float, str, Path, a tuple or an optional of these, a Literal) from its text.

    Raises ValueError with what was expected.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return None if text == "" else convert(text, inner[0])
    if origin is tuple:
        return tuple(convert(part.strip(), arguments[0]) for part in text.split(",") if part.strip())
    if origin is typing.Literal:
        if text not in arguments:
            raise ValueError(f"expected one of {', '.join(map(str, arguments))}, got {text!r}")
        return text
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError(f"expected true or false, got {text!r}")
        return text.lower() in _TRUE
    try:
        value = kind(text)
    except (TypeError, ValueError):
        raise ValueError(f"expected {_KIND_NAMES.get(kind, kind.__name__)}, got {text!r}") from None
    if kind is float and not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {text!r}")
    return value


_KIND_NAMES: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", Path: "a path"}


def _fields(settings_class: type[Any]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(settings_class) if field.init]


def _converter(field: dataclasses.Field[Any], kind: Any) -> Any:
    def read(text: str) -> Any:
        try:
            return read_value(field, kind, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _help(field: dataclasses.Field[Any], prefix: str) -> str:
    unit = field.metadata.get("unit")
    default = (
        "required" if field.default is dataclasses.MISSING else f"default {_default_text(field)}{f' {unit}' if unit else ''}"
    )
    return f"{field.metadata['text']} ({default}; {variable_name(prefix, field.name)})".replace("%", "%%")


def _default_text(field: dataclasses.Field[Any]) -> str:
    return "none" if field.default in (None, "", ()) else str(field.default)


def _underscored(argument: str) -> str:
    """`--http-port=1` as `--http_port=1`; everything that is not a long option as it is."""
    if not argument.startswith("--") or argument == "--":
        return argument
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def _strangers(parser: argparse.ArgumentParser, unknown: Sequence[str], ours: set[str]) -> set[str]:
    """The unknown options that resemble none of ours, each told on stderr: the log is set up only once there are settings."""
    names = {argument[2:].partition("=")[0] for argument in unknown if argument.startswith("--")} - ours - {""}
    found = {name for name in names if not difflib.get_close_matches(name, ours, 1, _MISSPELT)}
    for name in sorted(found):
        print(f"{parser.prog}: warning: unknown option --{name} is left out", file=sys.stderr)
    return found


def _refuse_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str], ignored: frozenset[str], ours: set[str]) -> None:
    skipping = False
    for argument in unknown:
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and name in ignored:
            skipping = "=" not in argument
        elif skipping and not argument.startswith("--"):
            skipping = False
        else:
            near = difflib.get_close_matches(name, ours, 1) if argument.startswith("--") else []
            remedy = f"did you mean --{near[0]}?" if near else "see --help"
            # Its value may be a secret that went to a misspelt option.
            parser.error(f"unknown option {argument.partition('=')[0]}; {remedy}")
