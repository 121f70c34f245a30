"""Settings classes as options of a command: the same names, words, variables and checks that the pods' programs have.

dataclass of `setting` fields --add_options--> click options --> the callback's keyword arguments --> the dataclass
"""

import dataclasses
import os
import typing
from collections.abc import Sequence
from typing import Any

import click

from penstock.settings import PASSWORD_SHOWN, has_password, read_value, secret_in_file, variable_name


class Typed(click.ParamType[Any]):
    """A setting's type, read as `penstock.settings` reads it."""

    def __init__(self, field: "dataclasses.Field[Any]", kind: Any) -> None:
        self.name = getattr(kind, "__name__", "text")
        self._field = field
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return read_value(self._field, self._kind, value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def add_options(
    command: click.Command, settings: type[Any], prefix: str, *, first: Sequence[str] = (), only: Sequence[str] | None = None
) -> click.Command:
    """An option for every setting, or for `only` those: `--http_port`, `--http-port`, or <prefix>_HTTP_PORT; those that are not
    among `first` come last."""
    hints = typing.get_type_hints(settings)
    fields = [field for field in dataclasses.fields(settings) if only is None or field.name in only]
    for field in sorted(fields, key=lambda field: first.index(field.name) if field.name in first else len(first)):
        unit = field.metadata.get("unit")
        default = "none" if field.default in (None, "") else f"{field.default}{f' {unit}' if unit else ''}"
        names = [f"--{field.name}"] + ([f"--{field.name.replace('_', '-')}"] if "_" in field.name else [])
        # As in the pods' programs: `--webhook_http` alone means true, `--webhook_http false` is the other.
        flag: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if hints[field.name] is bool else {}
        command.params.append(
            click.Option(
                names,
                **flag,
                type=Typed(field, hints[field.name]),
                metavar=field.name.upper(),
                help=f"{field.metadata['text']} (default {default})",
                envvar=variable_name(prefix, field.name),
                default=_secret_default(field, prefix) if field.metadata.get("secret") else field.default,
                callback=_no_password(field, prefix) if field.metadata.get("secret") else None,
                show_envvar=False,
            )
        )
    return command


def _secret_default(field: "dataclasses.Field[Any]", prefix: str) -> Any:
    """What stands for a secret that is not given: the content of the file that its variable names."""

    def fail(message: str) -> None:
        raise click.UsageError(message)

    return lambda: secret_in_file(variable_name(prefix, field.name), os.environ, fail) or field.default


def _no_password(field: "dataclasses.Field[Any]", prefix: str) -> Any:
    """Refuses a password on the command line."""

    def check(context: click.Context, option: click.Parameter, value: Any) -> Any:
        given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and (field.metadata.get("password") or has_password(str(value))):
            raise click.UsageError(f"--{field.name}: {PASSWORD_SHOWN.format(variable=variable_name(prefix, field.name))}")
        return value

    return check
