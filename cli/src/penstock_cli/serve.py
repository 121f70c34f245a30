"""`penstock serve`: bundles behind one port, in one process.

    .env, options -> places checked -> port free? -> store there? -> models loaded -> server -> greeting

Whatever can be found wrong is found before the server starts, and said in a line.
"""

import dataclasses
import os
import socket
import sys
import typing
from pathlib import Path
from typing import Any

import click

from penstock import logs
from penstock.serving.security.opening import check_security
from penstock.serving.server import Service, bind, run
from penstock.serving.supervisor import VARIABLE as WORKER
from penstock.settings import PASSWORD_SHOWN, has_password, read_value, secret_in_file, variable_name
from penstock_cli.all_in_one import PREFIX, ServeSettings, build, places_of
from penstock_cli.dotenv import load_env
from penstock_cli.errors import Failure, run_reported
from penstock_cli.greeting import greeting
from penstock_cli.store_check import check_features, check_store, check_store_file
from penstock_predictor.repository import Place

_SHOWN = ("feature_store", "http_port", "grpc_port", "host", "model_name", "workers", "log_level")


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


def _secret_default(field: "dataclasses.Field[Any]") -> Any:
    """What stands for a secret that is not given: the content of the file that its variable names."""

    def fail(message: str) -> None:
        raise click.UsageError(message)

    return lambda: secret_in_file(variable_name(PREFIX, field.name), os.environ, fail) or field.default


def _no_password(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Refuse a password on the command line."""
    given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
    if given and has_password(str(value)):
        variable = variable_name(PREFIX, option.name or "")
        raise click.UsageError(f"--{option.name}: {PASSWORD_SHOWN.format(variable=variable)}")
    return value


def _options(command: click.Command) -> click.Command:
    """An option for every setting: `--http_port`, `--http-port`, or PENSTOCK_SERVE_HTTP_PORT; the rarer ones come last."""
    hints = typing.get_type_hints(ServeSettings)
    fields = sorted(dataclasses.fields(ServeSettings), key=lambda f: _SHOWN.index(f.name) if f.name in _SHOWN else len(_SHOWN))
    for field in fields:
        unit = field.metadata.get("unit")
        default = "none" if field.default is None else f"{field.default}{f' {unit}' if unit else ''}"
        names = [f"--{field.name}"] + ([f"--{field.name.replace('_', '-')}"] if "_" in field.name else [])
        command.params.append(
            click.Option(
                names,
                type=Typed(field, hints[field.name]),
                metavar=field.name.upper(),
                help=f"{field.metadata['text']} (default {default})",
                envvar=variable_name(PREFIX, field.name),
                default=_secret_default(field) if field.metadata.get("secret") else field.default,
                callback=_no_password if field.metadata.get("secret") else None,
                show_envvar=False,
            )
        )
    return command


@click.command(
    "serve",
    short_help="Serve bundles.",
    epilog=f"Each option is also a variable, {PREFIX}_HTTP_PORT and so on, read from .env too.",
)
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE…")
def _serve(bundles: tuple[Path, ...], **options: Any) -> None:
    """Serve bundles, directories with a model.onnx, or directories of those: everything in one process."""
    settings = ServeSettings(**options)
    places = places_of(bundles, settings.model_name)
    check_features(places, settings.feature_store)
    check_store_file(settings.feature_store)
    is_worker = WORKER in os.environ
    if not is_worker:
        check_security(settings)
        settings = _with_free_port(settings)
        check_store(places, settings.feature_store, settings.store_timeout_ms / 1e3)
        if settings.workers > 1:
            click.echo(f"{_address(settings)} with up to {settings.workers} workers; Ctrl-C stops them.")
    logs.configure(settings.log_level)
    if settings.workers > 1 and not is_worker:
        run(lambda: _service(settings, places, greet=True), settings)
        return
    # Made before the port is bound, so that what is wrong with a model is said before anybody can connect.
    service = _service(settings, places, greet=not is_worker)
    run(lambda: service, settings)


class ServeCommand(click.Command):
    """The command; `.env` is read before its options are."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        load_env(Path.cwd())
        return super().make_context(info_name, args, parent, **extra)


serve = ServeCommand(_serve.name, params=_serve.params, callback=_serve.callback, help=_serve.help, epilog=_serve.epilog)
_options(serve)


def _service(settings: ServeSettings, places: list[Place], *, greet: bool) -> Service:
    service, transformers = build(settings, places)
    if greet:

        async def say() -> None:
            guarded = settings.api_keys is not None or bool(settings.oidc_issuer)
            click.echo(await greeting(transformers, _address(settings), guarded=guarded))

        service.lifecycle.on_start("greeting", say)
    return service


def _address(settings: ServeSettings) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}"


def _with_free_port(settings: ServeSettings) -> ServeSettings:
    """The settings with ports that can be listened on: the kernel's choice for 0. Raises Failure if one is taken."""
    port = _free_port(settings.host, settings.http_port, "Choose another with --http_port; 0 lets the kernel choose.")
    if settings.grpc_port > 0:
        _free_port(settings.host, settings.grpc_port, "Choose another for gRPC with --grpc_port; -1 switches it off.")
    return dataclasses.replace(settings, http_port=port)


def _free_port(host: str, port: int, remedy: str) -> int:
    try:
        with bind(host, port) as probe:
            return int(probe.getsockname()[1])
    except socket.gaierror as error:
        raise Failure(f"--host {host}: {error.strerror}") from None
    except OSError as error:
        raise Failure(f"cannot listen on {host}:{port}: {error.strerror}", remedy) from None


if __name__ == "__main__":
    sys.exit(run_reported(lambda: serve.main(prog_name="penstock serve", standalone_mode=False)))
