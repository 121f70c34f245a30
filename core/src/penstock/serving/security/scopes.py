"""Scopes: what a caller may do, and to which model.

    predict:flights    ask for predictions of `flights`
    read:*             read stored records, bundle files and the API's description, of every model
    write:flights      store and remove records
    admin              load, unload, and everything else; `admin:flights` the same for one model

A model's metadata and readiness are open to whoever has any scope for it: clients ask for them before they predict.
"""

from collections.abc import Iterable
from dataclasses import dataclass

PREDICT, READ, WRITE, ADMIN = "predict", "read", "write", "admin"
DESCRIBE = "describe"
"""Needed for what any scope of a model allows; no scope is called so."""

VERBS = (PREDICT, READ, WRITE, ADMIN)
ANY = "*"


@dataclass(frozen=True, slots=True)
class Scope:
    """One permission; `model` is a name, or `*` for all of them."""

    verb: str
    model: str

    def allows(self, verb: str, model: str | None) -> bool:
        """`model` None: what concerns all of them."""
        fits = self.model in (ANY, model) or (verb == DESCRIBE and model is None)
        return fits and (verb in (self.verb, DESCRIBE) or self.verb == ADMIN)

    def __str__(self) -> str:
        return self.verb if self.verb == ADMIN and self.model == ANY else f"{self.verb}:{self.model}"


def read_scope(text: str) -> Scope:
    """A scope from its text. Raises ValueError with what was expected."""
    verb, colon, model = text.partition(":")
    if verb == ADMIN and not colon:
        return Scope(ADMIN, ANY)
    if verb not in VERBS or not model or any(character.isspace() or character == "," for character in model):
        raise ValueError(f"expected {', '.join(f'{verb}:MODEL' for verb in VERBS[:-1])} (MODEL or *) or admin, got {text[:80]!r}")
    return Scope(verb, model)


def known_scopes(texts: Iterable[str]) -> frozenset[Scope]:
    """The scopes among `texts`; an issuer gives others too (`openid`, `email`), which mean nothing here."""
    found = set()
    for text in texts:
        try:
            found.add(read_scope(text))
        except ValueError:
            continue
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `name` is unique among callers of one kind (`key batch`, `user 1234`, `address 10.0.0.7`); it is counted and
    logged, so it holds no secret. `anonymous`: nobody was asked who he is, and an address is all that is known."""

    name: str
    scopes: frozenset[Scope]
    anonymous: bool = False

    def may(self, verb: str, model: str | None) -> bool:
        return any(scope.allows(verb, model) for scope in self.scopes)


EVERYTHING = frozenset({Scope(ADMIN, ANY)})


def wanted(verb: str, model: str | None) -> str:
    """The scope to ask for, as text."""
    return str(Scope(READ if verb == DESCRIBE else verb, model if model is not None else ANY))
