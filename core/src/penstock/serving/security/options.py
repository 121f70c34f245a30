"""The settings of security that every serving program has. All of them are off until asked for; secrets are in files."""

from dataclasses import dataclass
from pathlib import Path

from penstock.errors import InvalidInput
from penstock.serving.security.tls import TlsSettings
from penstock.settings import setting


@dataclass(frozen=True, kw_only=True)
class SecuritySettings:
    """Files are looked at again while the program runs, and taken when they have changed. Times are in seconds."""

    tls_cert: Path | None = setting(None, "PEM file with the certificate (and its chain) of every port; off without it.")  # noqa: RUF009
    tls_key: Path | None = setting(None, "PEM file with that certificate's key.")  # noqa: RUF009
    tls_client_ca: Path | None = setting(  # noqa: RUF009
        None, "PEM file with authorities: only callers with a certificate of theirs may connect to the HTTP and gRPC ports."
    )
    admin_client_ca: Path | None = setting(  # noqa: RUF009
        None, "The same for the admin port, where probes and scrapes come in; it asks for no certificate without this."
    )
    api_keys: Path | None = setting(None, "File with a hashed API key a line (`penstock keys new` makes them); off without it.")  # noqa: RUF009
    oidc_issuer: str = setting("", "Issuer of the JSON Web Tokens that are accepted, an https:// address; off without it.")
    oidc_audience: str = setting("", "The audience that a token must name; needed with --oidc_issuer.")
    oidc_scope_claim: str = setting("scope", "The token's claim that holds its scopes, as a list or separated by spaces.")
    oidc_ca: Path | None = setting(None, "PEM file with the authorities of the issuer's own certificate; else the system's.")  # noqa: RUF009
    oidc_leeway_s: float = setting(30.0, "How far the issuer's clock and this one may be apart.", unit="s", most=300)
    admin_guard: bool = setting(
        True, "With API keys or OIDC, ask for scope admin on the admin port too (health and metrics not)."
    )
    rate_limit: str = setting(
        "", "How often one caller may ask, such as 100/second;2000/minute; counted in each worker. Off without it."
    )
    cors_origins: tuple[str, ...] = setting(
        (), "Web pages that may call from a browser: https://HOST[:PORT], separated by commas, or *; none without it."
    )

    def tls(self) -> TlsSettings | None:
        """TLS of the HTTP and gRPC ports; None for plain text. Raises InvalidInput for half a setting."""
        return self._tls(self.tls_client_ca)

    def admin_tls(self) -> TlsSettings | None:
        """TLS of the admin port: the same certificate, and its own rule for callers' certificates. Raises InvalidInput."""
        return self._tls(self.admin_client_ca)

    def _tls(self, client_ca: Path | None) -> TlsSettings | None:
        if self.tls_cert is not None and self.tls_key is not None:
            return TlsSettings(self.tls_cert, self.tls_key, client_ca)
        if self.tls_cert is not None or self.tls_key is not None:
            raise InvalidInput("expected --tls_cert and --tls_key together", field="tls_cert")
        if client_ca is not None:
            raise InvalidInput("expected --tls_cert and --tls_key beside it", field="tls_client_ca")
        return None
