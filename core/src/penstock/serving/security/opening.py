"""From settings to what guards a server: checked before anything listens, then put around the application."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from penstock.errors import InvalidInput
from penstock.lifecycle import Hook
from penstock.serving.security.guard import Guard
from penstock.serving.security.issuer import Issuer, web_fetch
from penstock.serving.security.keys import ApiKeys
from penstock.serving.security.middleware import Guarded
from penstock.serving.security.options import SecuritySettings
from penstock.serving.security.origins import EXPOSED_HEADERS, METHODS, REQUEST_HEADERS, check_origins
from penstock.serving.security.rates import Rates
from penstock.serving.security.tls import make_client_context
from penstock.serving.security.tokens import Tokens
from penstock.serving.shell import Shell

_PREFLIGHT_S = 600


def check_security(settings: SecuritySettings) -> None:
    """Raises InvalidInput for settings that cannot work: files that are not there, texts that cannot be read, halves of pairs."""
    for tls in (settings.tls(), settings.admin_tls()):
        if tls is not None:
            tls.check()
    check_origins(settings.cors_origins)
    open_guard(settings)


def open_guard(settings: SecuritySettings, models: Any = tuple) -> Guard | None:
    """The guard that the settings ask for; None if they ask for none. Raises InvalidInput."""
    keys = ApiKeys(settings.api_keys) if settings.api_keys is not None else None
    tokens = _tokens(settings)
    rates = Rates(settings.rate_limit) if settings.rate_limit else None
    if keys is None and tokens is None and rates is None:
        return None
    return Guard(keys=keys, tokens=tokens, rates=rates, models=models)


def _tokens(settings: SecuritySettings) -> Tokens | None:
    if not settings.oidc_issuer:
        if settings.oidc_audience:
            raise InvalidInput("expected --oidc_issuer beside it", field="oidc_audience")
        return None
    if not settings.oidc_audience:
        raise InvalidInput("expected the audience that tokens must name", field="oidc_audience")
    context = make_client_context(settings.oidc_ca, None, None, "oidc") if settings.oidc_ca is not None else None
    issuer = Issuer(settings.oidc_issuer, fetch=web_fetch(context))
    return Tokens(issuer, settings.oidc_audience, scope_claim=settings.oidc_scope_claim, leeway_s=settings.oidc_leeway_s)


def secure(app: FastAPI, shell: Shell, settings: SecuritySettings) -> None:
    """Put the settings' guard and origins around an application that `build_app` made, and on its shell. Before it serves."""

    def models() -> Sequence[str]:
        found: Sequence[str] = app.state.plane.models()
        return found

    shell.guard = open_guard(settings, models)
    shell.origins = tuple(settings.cors_origins)
    if shell.guard is not None:
        shell.lifecycle.on_start("guard", _prepared(shell.guard))
        app.add_middleware(Guarded, guard=shell.guard, shell=shell)
    if settings.cors_origins:
        # Outside the guard: a preflight has no credentials, and a page must be able to read that it was refused.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=_PREFLIGHT_S,
        )


def _prepared(guard: Guard) -> Hook:
    async def prepare() -> None:
        guard.prepare()

    return prepare


def admin_guard(settings: SecuritySettings) -> Guard | None:
    """The guard of the admin port; it counts no rates. None if callers need no credentials there. Raises InvalidInput."""
    guard = open_guard(settings) if settings.admin_guard else None
    if guard is None or not guard.asks_who:
        return None
    guard.rates = None
    return guard
