"""An OpenID Connect issuer for tests: discovery and keys over HTTP, tokens signed by hand.

with OidcProvider() as provider: provider.token(scope="predict:flights")        provider.rotate()        provider.asked
"""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "penstock"
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class SigningKeys:
    """Key pairs by id, the newest signs; `jwks` is what an issuer publishes of them."""

    def __init__(self) -> None:
        self._keys: dict[str, SigningKey] = {}
        self.newest = ""
        self.rotate()

    def rotate(self, *, keep: bool = False, curve: bool = False) -> str:
        """A new key, instead of the old ones or (`keep`) beside them. Its id."""
        if not keep:
            self._keys.clear()
        self.newest = f"key-{time.monotonic_ns()}"
        self._keys[self.newest] = (
            ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        return self.newest

    def private(self, kid: str | None = None) -> SigningKey:
        return self._keys[kid or self.newest]

    def jwks(self) -> dict[str, Any]:
        return {"keys": [_jwk(kid, key) for kid, key in self._keys.items()]}


def sign(keys: SigningKeys, issuer: str, kid: str | None = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of the newest key (or the named one) with these claims over the usual ones; a claim of None is left out."""
    now = int(time.time())
    whole = {"iss": issuer, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300, **claims}
    key = keys.private(kid)
    return jwt.encode(
        {name: value for name, value in whole.items() if value is not None},
        key,
        algorithm="RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256",
        headers={"kid": kid or keys.newest, **(headers or {})},
    )


class OidcProvider:
    """A server on the loopback address. `asked` counts the requests for its keys; `broken` makes it answer 500."""

    def __init__(self) -> None:
        self.keys = SigningKeys()
        self.asked = 0
        self.broken = False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._answer(self)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def token(self, kid: str | None = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        return sign(self.keys, self.url, kid, headers, **claims)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": self.keys.jwks(),
        }
        self.asked += handler.path == "/keys"
        document = None if self.broken else documents.get(handler.path)
        body = json.dumps(document).encode()
        handler.send_response(500 if self.broken else 200 if document is not None else 404)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _jwk(kid: str, key: SigningKey) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": _number(public.n), "e": _number(public.e)}
    point = key.public_key().public_numbers()
    return {"kty": "EC", "kid": kid, "use": "sig", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}


def _number(value: int, length: int | None = None) -> str:
    size = length or (value.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(value.to_bytes(size, "big")).rstrip(b"=").decode()
