"""This program as a client of another: whom it believes, who it says it is, both followed while the files change.

files --read when changed--> SSLContext --> each new connection            file --> Authorization line --> each request
"""

import logging
import re
import ssl
from pathlib import Path

from penstock.errors import InvalidInput
from penstock.serving.security.tls import make_client_context
from penstock.serving.security.watching import Watch

logger = logging.getLogger(__name__)

_TOKEN = re.compile(rb"[!-~]+")
_TOKEN_BYTES = 16 * 1024


class ClientTls:
    """TLS towards one kind of server. `ca`: its authorities, the system's if None; `cert` and `key`: our own certificate, if any.

    `option` is the name of the settings before `_ca`, for messages. Raises InvalidInput for files that do not work.
    """

    def __init__(self, ca: Path | None = None, cert: Path | None = None, key: Path | None = None, *, option: str = "tls") -> None:
        if (cert is None) != (key is None):
            raise InvalidInput(f"expected --{option}_cert and --{option}_key together", field=f"{option}_cert")
        self._files = (ca, cert, key)
        self._option = option
        self._watch = Watch([path for path in self._files if path is not None])
        self._context = make_client_context(*self._files, option)

    def context(self) -> ssl.SSLContext:
        """The context for a connection that is opened now."""
        if self._watch.changed():
            try:
                self._context = make_client_context(*self._files, self._option)
            except InvalidInput as error:
                logger.error("new certificate refused", extra={"reason": str(error)})
            else:
                logger.info("new certificate in use", extra={"file": str(self._files[1] or self._files[0])})
        return self._context


class Credential:
    """A file with an API key or a token, as a header line. Raises InvalidInput if it holds none."""

    def __init__(self, path: Path, field: str) -> None:
        self._path = path
        self._field = field
        self._watch = Watch([path])
        self._line = self._read()

    def line(self) -> bytes:
        """`Authorization: Bearer …` with its line end, for a request that is sent now."""
        if self._watch.changed():
            try:
                self._line = self._read()
            except InvalidInput as error:
                logger.error("new credential refused", extra={"reason": str(error)})
        return self._line

    def _read(self) -> bytes:
        try:
            text = self._path.read_bytes().strip()
        except OSError as error:
            raise InvalidInput(f"cannot read {self._path}: {error.strerror}", field=self._field) from None
        if _TOKEN.fullmatch(text) is None or len(text) > _TOKEN_BYTES:
            raise InvalidInput(f"{self._path}: expected one key or token and nothing else", field=self._field)
        return b"Authorization: Bearer %b\r\n" % text
