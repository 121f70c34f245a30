"""`penstock serve`: bundles behind one port, in one process.

    .env, options -> places checked -> port free? -> store there? -> models loaded -> server -> greeting

Whatever can be found wrong is found before the server starts, and said in a line.
"""

import dataclasses
import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from penstock import logs
from penstock.serving.security.opening import check_security
from penstock.serving.server import Service, bind, run
from penstock.serving.supervisor import VARIABLE as WORKER
from penstock_cli.all_in_one import PREFIX, ServeSettings, build, has_predictions, places_of
from penstock_cli.dotenv import load_env
from penstock_cli.errors import Failure, run_reported
from penstock_cli.greeting import greeting
from penstock_cli.setting_options import add_options
from penstock_cli.store_check import check_features, check_store, check_store_file
from penstock_predictor.repository import Place

_SHOWN = ("feature_store", "http_port", "grpc_port", "host", "model_name", "workers", "log_level")


@click.command(
    "serve",
    short_help="Serve bundles.",
    epilog=f"Each option is also a variable, {PREFIX}_HTTP_PORT and so on, read from .env too.",
)
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE…")
def _serve(bundles: tuple[Path, ...], **options: Any) -> None:
    """Serve bundles, directories with a model.onnx, or directories of those: everything in one process."""
    settings = ServeSettings(**options)
    try:
        settings.check_predictions(settings.workers)
        settings.check_log()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
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
add_options(serve, ServeSettings, PREFIX, first=_SHOWN)


def _service(settings: ServeSettings, places: list[Place], *, greet: bool) -> Service:
    service, transformers = build(settings, places)
    if greet:

        async def say() -> None:
            guarded = settings.api_keys is not None or bool(settings.oidc_issuer)
            click.echo(await greeting(transformers, _address(settings), guarded=guarded, later=has_predictions(settings)))

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
