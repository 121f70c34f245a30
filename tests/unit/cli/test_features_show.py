"""What `penstock features show` says to do next."""

from pathlib import Path

from penstock_cli.features.show import _listing


def test_the_remedy_looks_in_the_same_place() -> None:
    assert _listing("planes", Path(), None) == "penstock features show planes"
    assert _listing("planes", Path("my repo"), None) == "penstock features show planes --repo 'my repo'"
    assert _listing("planes", Path(), "redis://h/0") == "penstock features show planes --feature-store redis://h/0"
