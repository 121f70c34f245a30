"""Certificates, keys and an issuer, shared by the tests of security."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.serving.security.keys import new_key
from penstock.serving.security.scopes import read_scope
from penstock.testing.certificates import Authority, Pair
from penstock.testing.oidc import OidcProvider


@dataclass(frozen=True)
class Trust:
    """An authority's certificate, one of a server's and one of a client's; and a client that a stranger vouches for."""

    authority: Authority
    ca: Path
    server: Pair
    client: Pair
    stranger: Pair


@pytest.fixture(scope="session")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    folder = tmp_path_factory.mktemp("trust")
    authority = Authority("test")
    return Trust(
        authority,
        authority.write(folder / "ca.pem"),
        authority.issue(folder, "server"),
        authority.issue(folder, "client"),
        Authority("stranger").issue(folder, "stranger"),
    )


@dataclass(frozen=True)
class Keys:
    """A key file, and the keys in it by name."""

    path: Path
    by_name: dict[str, str]

    def headers(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.by_name[name]}"}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """`echo` predicts with the model echo, `other` with another one, `reader` reads, `root` may do everything."""
    scopes = {"echo": "predict:echo", "other": "predict:other", "reader": "read:*", "root": "admin"}
    made = {name: new_key(name, frozenset({read_scope(scope)})) for name, scope in scopes.items()}
    path = tmp_path / "api-keys"
    path.write_text("".join(f"{entry.line()}\n" for _, entry in made.values()))
    return Keys(path, {name: text for name, (text, _) in made.items()})


@pytest.fixture(scope="session")
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as running:
        yield running
