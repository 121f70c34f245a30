"""TLS of a port: a certificate, its key, and, for mutual TLS, who signs the callers' certificates.

    files --read--> SSLContext (current) <--chosen at each handshake-- SSLContext of the listener

A listener keeps one context for its life. At each handshake that context's callback puts the current one in its place; the
current one is made anew from the files when they have changed. Connections that are open keep what they agreed on, so a new
certificate drops none.

Invariant: files that do not fit together (a certificate without its key, half-written files) never replace ones that do: the
fault is logged, and what served before goes on serving. TLS 1.2 is the least that is spoken.
"""

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidInput
from penstock.serving.security.watching import Watch

if TYPE_CHECKING:
    import grpc

logger = logging.getLogger(__name__)

_ALPN = ["http/1.1"]


@dataclass(frozen=True)
class TlsSettings:
    """The files of one port, PEM. `cert` holds the certificate and its chain; with `client_ca`, only callers whose certificate
    one of its authorities signed are let in."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.cert, self.key) if self.client_ca is None else (self.cert, self.key, self.client_ca)

    def check(self) -> None:
        """Raises InvalidInput, naming the file, if a context cannot be made of them."""
        make_server_context(self)

    def server_context(self) -> ssl.SSLContext:
        """A context for a listener of HTTP/1.1, which follows the files from now on. Raises InvalidInput."""
        return _Followed(self).listener

    def grpc_server_credentials(self) -> "grpc.ServerCredentials":
        """Credentials for `add_secure_port` of a grpc or grpc.aio server, which follow the files from now on.

        gRPC asks for the certificate at each handshake, from a thread of its own. Raises InvalidInput.
        """
        import grpc

        self.check()
        watch = Watch(self.paths)

        def current() -> Any:
            """The new configuration, or None for the one in use."""
            if not watch.changed():
                return None
            try:
                self.check()
                made = self._grpc_configuration()
            except (InvalidInput, OSError) as error:
                _log_refused(self, error)
                return None
            _log_taken(self)
            return made

        return grpc.dynamic_ssl_server_credentials(  # type: ignore[no-any-return,unused-ignore]
            self._grpc_configuration(), current, require_client_authentication=self.client_ca is not None
        )

    def _grpc_configuration(self) -> Any:
        import grpc

        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            root_certificates=None if self.client_ca is None else self.client_ca.read_bytes(),
        )


class _Followed:
    """A listener's context and the current one behind it."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._watch = Watch(settings.paths)
        self._lock = threading.Lock()
        self._current = make_server_context(settings)
        self.listener = make_server_context(settings)
        # OpenSSL calls this for every handshake, whether the client named a server or not.
        self.listener.sni_callback = self._choose

    def _choose(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        with self._lock:
            if self._watch.changed():
                self._reload()
            connection.context = self._current

    def _reload(self) -> None:
        try:
            self._current = make_server_context(self._settings)
        except InvalidInput as error:
            _log_refused(self._settings, error)
        else:
            _log_taken(self._settings)


def make_server_context(settings: TlsSettings) -> ssl.SSLContext:
    """A server's context as the files are now. Raises InvalidInput naming the file at fault."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    load_pair(context, settings.cert, settings.key, "tls_cert")
    if settings.client_ca is not None:
        load_authorities(context, settings.client_ca, "tls_client_ca")
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session skips the caller's certificate, and would outlive an authority that was taken away.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def make_client_context(ca: Path | None, cert: Path | None, key: Path | None, field: str) -> ssl.SSLContext:
    """A client's context as the files are now: who is believed (`ca`, else the system's), and who we are, if we say so.

    `field` is the option's name up to `_ca`, for the message. Raises InvalidInput naming the file at fault.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if ca is None:
        context.load_default_certs()
    else:
        load_authorities(context, ca, f"{field}_ca")
    if cert is not None and key is not None:
        load_pair(context, cert, key, f"{field}_cert")
    return context


def load_pair(context: ssl.SSLContext, cert: Path, key: Path, field: str) -> None:
    """Raises InvalidInput if the files are not a certificate and its key."""

    def no_password() -> str:
        raise InvalidInput(f"{key} is encrypted; expected a key without a password, readable by this program alone", field=field)

    try:
        context.load_cert_chain(cert, key, password=no_password)
    except ssl.SSLError as error:
        raise InvalidInput(f"{cert} and {key} are not a PEM certificate and its key: {_reason(error)}", field=field) from None
    except OSError as error:
        raise InvalidInput(f"cannot read {cert} or {key}: {error.strerror}", field=field) from None


def load_authorities(context: ssl.SSLContext, path: Path, field: str) -> None:
    """Raises InvalidInput if the file holds no certificate."""
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise InvalidInput(f"{path} holds no PEM certificates: {_reason(error)}", field=field) from None
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", field=field) from None


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_ALPN)


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "not PEM").lower().replace("_", " ")


def _log_refused(settings: TlsSettings, error: Exception) -> None:
    logger.error("new certificate refused", extra={"file": str(settings.cert), "reason": str(error)})


def _log_taken(settings: TlsSettings) -> None:
    logger.info("new certificate in use", extra={"file": str(settings.cert)})
