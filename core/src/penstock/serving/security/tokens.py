"""JSON Web Tokens of an OpenID Connect issuer: whose they are, checked against its keys.

    token --header--> kid, alg --Issuer--> key --signature, iss, aud, exp, nbf--> claims --scopes--> Caller

What decides how a token is checked is the key, never the token: only asymmetric algorithms are known, and a token's `alg` must be
its key's. So `none`, and HS256 with a public key as its secret, are refused before anything is computed.

Invariant: a token that was checked is remembered until it expires and no longer, and only for as long as the issuer's keys are
believed: they are asked for at every use, so that a key that the issuer takes away ends its tokens, whoever else calls.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from penstock.errors import Unauthenticated
from penstock.serving.security.extras import needs_extra
from penstock.serving.security.issuer import ALGORITHMS, Issuer
from penstock.serving.security.scopes import Caller, known_scopes

_MOST_BYTES = 16 * 1024
_REMEMBERED = 4096
_REQUIRED = ["exp", "iss", "aud", "sub"]


class Tokens:
    """Checks tokens for `audience`. Times are in seconds."""

    def __init__(
        self,
        issuer: Issuer,
        audience: str,
        *,
        scope_claim: str = "scope",
        leeway_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        with needs_extra("--oidc_issuer"):
            import cryptography  # noqa: F401
            import jwt
        self._jwt = jwt
        self._issuer = issuer
        self._audience = audience
        self._scope_claim = scope_claim
        self._leeway_s = leeway_s
        self._clock = clock
        # By a token's hash: its caller, until when (by the clock), and the id of its key.
        self._checked: dict[bytes, tuple[Caller, float, str]] = {}
        issuer.on_change(self._checked.clear)

    def prepare(self) -> None:
        """Begin to fetch the issuer's keys."""
        self._issuer.prepare()

    def check(self, token: bytes) -> Caller:
        """The caller of a token. Raises Unauthenticated; and, as `Issuer.key`, Fetching and UpstreamUnavailable."""
        digest = hashlib.sha256(token).digest()
        known = self._checked.get(digest)
        # Looking for the key is what has the keys fetched again, and tells when they are believed no longer.
        if known is not None and known[1] > self._clock() and self._issuer.key(known[2]) is not None:
            return known[0]
        claims, kid = self._claims(token)
        caller = Caller(f"user {str(claims['sub'])[:200]}", known_scopes(_texts(claims.get(self._scope_claim))))
        if len(self._checked) >= _REMEMBERED:
            self._checked.clear()
        self._checked[digest] = caller, float(claims["exp"]) + self._leeway_s, kid
        return caller

    def _claims(self, token: bytes) -> tuple[dict[str, Any], str]:
        """What a token that holds good claims, and the id of its key."""
        if len(token) > _MOST_BYTES:
            raise _refused("it is too long")
        errors = self._jwt.exceptions
        try:
            header = self._jwt.get_unverified_header(token)
        except errors.PyJWTError:
            raise _refused("it is neither an API key nor a JSON Web Token") from None
        if header.get("alg") not in ALGORITHMS:
            raise _refused("its algorithm is not one of the asymmetric ones")
        kid = header.get("kid")
        if not isinstance(kid, str) or len(kid) > 500 or "crit" in header:
            raise _refused("expected the id of its key (kid), and nothing critical (crit)")
        key = self._issuer.key(kid)
        if key is None or key.algorithm_name != header["alg"]:
            raise _refused("its key is not one of the issuer's")
        try:
            claims: dict[str, Any] = self._jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer.url,
                leeway=self._leeway_s,
                options={"require": _REQUIRED},
            )
        except errors.PyJWTError as error:
            raise _refused(_REASONS.get(type(error).__name__, "it cannot be verified")) from None
        return claims, kid


_REASONS = {
    "ExpiredSignatureError": "it has expired",
    "ImmatureSignatureError": "it is not valid yet",
    "InvalidIssuedAtError": "it is not valid yet",
    "InvalidAudienceError": "it is for another audience",
    "InvalidIssuerError": "it is of another issuer",
    "InvalidSignatureError": "its signature is wrong",
    "MissingRequiredClaimError": "it lacks one of the claims exp, iss, aud and sub",
}


def _refused(reason: str) -> Unauthenticated:
    return Unauthenticated(f"the token is refused: {reason}", field="Authorization")


def _texts(claim: Any) -> list[str]:
    """A claim of scopes: text separated by spaces (RFC 8693), or a list."""
    if isinstance(claim, str):
        return claim.split()
    return [text for text in claim if isinstance(text, str)] if isinstance(claim, list) else []
