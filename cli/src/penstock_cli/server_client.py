"""A running server as the command line asks it: JSON over HTTP, every failure said with what to do about it."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock_cli.errors import Failure
from penstock_cli.text_file import read_text

_START_REMEDY = "Is it running? `penstock serve BUNDLE` starts a server; --url says where it is."
# A server that speaks TLS hangs up without a word on who does not, and on who has no certificate where it wants one.
_HUNG_UP = {
    "http": "If it speaks TLS, its address begins with https://.",
    "https": "It may want a certificate of its callers; this command has none to show.",
}
_CA_REMEDY = "--ca FILE names the authorities that sign the server's certificate."


class Server:
    """One server by its URL; `timeout_s` for each request. All methods raise Failure.

    `key_file` holds the API key or token that is sent; `ca` the authorities of an https server's certificate, else the system's.
    """

    def __init__(self, url: str, timeout_s: float, *, key_file: Path | None = None, ca: Path | None = None) -> None:
        self.url = url.rstrip("/") if "://" in url else f"http://{url.rstrip('/')}"
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).netloc:
            raise Failure(f"--url {url}: expected an address like http://127.0.0.1:8080")
        self._timeout_s = timeout_s
        self._headers = {} if key_file is None else {"authorization": f"Bearer {_credential(key_file)}"}
        self._context = None if ca is None else _context(ca)

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path."""
        return self._send(urllib.request.Request(self.url + path, headers=self._headers))

    def post(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        """The JSON object that answers a body."""
        return self._send(
            urllib.request.Request(self.url + path, body, {"content-type": content_type, "prefer": "wait", **self._headers})
        )

    def _send(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s, context=self._context) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (urllib.error.URLError, TimeoutError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                raise Failure(f"{self.url}: no answer within {self._timeout_s:g} s", "--timeout waits longer.") from None
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise Failure(f"{self.url}: {reason.verify_message}", _CA_REMEDY) from None
            if isinstance(reason, ssl.SSLError):
                raise Failure(
                    f"{self.url}: {reason.strerror or reason}",
                    "Does it speak TLS? Without, its address begins with http://.",
                ) from None
            if isinstance(reason, http.client.RemoteDisconnected):
                raise Failure(f"{self.url}: {reason}", _HUNG_UP[urlsplit(self.url).scheme]) from None
            if isinstance(reason, OSError) and reason.strerror:
                reason = reason.strerror
            raise Failure(f"{self.url}: {reason}", _START_REMEDY) from None
        except ValueError:
            raise Failure(f"{self.url}: the answer is not JSON", "Is that a Penstock server?") from None
        if not isinstance(document, dict):
            raise Failure(f"{self.url}: the answer is no JSON object", "Is that a Penstock server?")
        return document

    def _refused(self, error: urllib.error.HTTPError) -> Failure:
        """What the server says is wrong, with the field."""
        with error:
            try:
                problem = json.load(error)
            except (ValueError, OSError, http.client.HTTPException):
                problem = None
        if not isinstance(problem, dict):
            problem = {}
        detail = problem.get("detail") or problem.get("error") or error.reason
        field = problem.get("field")
        remedy = "Say which with --model." if field == "model" else None
        if error.code == 401 and not self._headers:
            remedy = "--key-file FILE sends an API key."
        return Failure(f"{f'{field}: ' if field else ''}{detail}", remedy)


def _credential(path: Path) -> str:
    text = read_text(path).strip()
    if not text.isascii() or not text.isprintable() or not text or " " in text:
        raise Failure(f"{path}: expected one key or token and nothing else")
    return text


def _context(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise Failure(f"{ca}: expected PEM certificates") from None
