"""Where models come from: a directory, or an object store whose models are first brought into a directory.

    --model_dir --> ModelSource --places()--> directories with a bundle or a plain model

Invariant: what a place's directory holds is complete when `places` gives it, or its own digests say that it is not.
"""

from pathlib import Path
from typing import Protocol

from penstock.errors import InvalidInput
from penstock_predictor.repository import Place, find


class ModelSource(Protocol):
    """Models by place. Every call blocks and is made off the event loop; each of the two by one thread at a time."""

    def places(self, model: str | None = None) -> list[Place]:
        """Every model there is now, or those of one name, in order of name and version; fetched if they are far away.

        Raises NotFound, InvalidInput or UpstreamUnavailable with what is wrong.
        """

    def names(self) -> list[tuple[str, str | None]]:
        """Name and version of every model there is now; nothing is fetched. Raises as `places` does."""


def open_source(address: str, model_name: str, cache: Path) -> ModelSource:
    """The source that an address names: a path, or s3://, gs://, az://, https:// (and http://, for what is nearby).

    Raises InvalidInput for an address that is none, or if what it needs is not installed.
    """
    if "://" not in address:
        return DirectorySource(Path(address), model_name)
    from penstock_predictor.store.object_source import ObjectSource
    from penstock_predictor.store.remote import SCHEMES, is_remote

    if not is_remote(address):
        scheme = address.partition("://")[0]
        raise InvalidInput(
            f"expected a path or one of {', '.join(f'{s}://' for s in SCHEMES)}, got {scheme}://", field="model_dir"
        )
    return ObjectSource(address, model_name, cache)


class DirectorySource:
    """Models of a directory of this machine."""

    def __init__(self, directory: Path, model_name: str) -> None:
        self.directory = directory
        self._model_name = model_name

    def places(self, model: str | None = None) -> list[Place]:
        found = find(self.directory, self._model_name)
        return [place for place in found if model is None or place.model == model]

    def names(self) -> list[tuple[str, str | None]]:
        return [(place.model, place.version) for place in self.places()]
