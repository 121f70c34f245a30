"""What a model directory holds: one bundle, one plain model, or a repository of them by name, or by name and version.

    DIR/bundle.yaml               a bundle
    DIR/model.onnx                a plain model (or a single *.onnx of another name)
    DIR/<version>/…               versions of the one model that the program is named after (version directories are numbers)
    DIR/<name>/…                  models by name
    DIR/<name>/<version>/…        models by name and version

Only names are looked at here, never into a model: the same rules hold for a directory and for a listing of an object store.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.bundle.reading import Bundle
from penstock.errors import InvalidInput, NotFound

MANIFEST, MODEL = "bundle.yaml", "model.onnx"

Listing = Mapping[tuple[str, ...], Sequence[str]]
"""The names of the files in each directory; a directory is the tuple of the names that lead to it, `()` the topmost."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model to be served lies. `version` is what its directory says, None to take the bundle's own. `bundle` is what has
    been opened and verified of it already.
    """

    model: str
    version: str | None
    directory: Path
    is_bundle: bool
    bundle: Bundle | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """A model found in a listing: `parts` are the names of the directories that lead to it."""

    model: str
    version: str | None
    parts: tuple[str, ...]
    is_bundle: bool


def find(directory: Path, model_name: str) -> list[Place]:
    """Every model of a directory, in order of name and version.

    Raises NotFound if the directory is not there, InvalidInput if it holds nothing that can be served or cannot be read.
    """
    if not directory.is_dir():
        raise NotFound(f"{directory} is not a directory", field="model_dir")
    try:
        places = arrange(_listing(directory), model_name)
    except OSError as error:
        raise InvalidInput(f"{directory} cannot be read: {error.strerror}", field="model_dir") from error
    if not places:
        raise InvalidInput(f"{directory} holds neither {MANIFEST} nor {MODEL}, nor directories with them", field="model_dir")
    return [Place(found.model, found.version, directory.joinpath(*found.parts), found.is_bundle) for found in places]


def arrange(listing: Listing, model_name: str) -> list[Found]:
    """Every model of a listing, in order of name and version."""
    if holds_model(listing.get((), ())):
        return [_found(listing, model_name, None, ())]
    places: list[Found] = []
    for parts in _below(listing, ()):
        (name,) = parts
        if name.isdecimal():
            if holds_model(listing[parts]):
                places.append(_found(listing, model_name, name, parts))
        elif holds_model(listing[parts]):
            places.append(_found(listing, name, None, parts))
        else:
            versions = [below for below in _below(listing, parts) if holds_model(listing[below])]
            places += [_found(listing, name, below[-1], below) for below in versions]
    return places


def holds_model(files: Sequence[str]) -> bool:
    """Whether a directory of these files is a bundle or a plain model."""
    return MANIFEST in files or model_name_of(files) is not None


def model_name_of(files: Sequence[str]) -> str | None:
    """The plain model among a directory's files: model.onnx, else the only file *.onnx."""
    if MODEL in files:
        return MODEL
    others = [name for name in files if name.endswith(".onnx")]
    return others[0] if len(others) == 1 else None


def model_file(directory: Path) -> Path | None:
    """The plain model of a directory: model.onnx, else the only file *.onnx."""
    name = model_name_of([path.name for path in directory.iterdir() if path.is_file()])
    return None if name is None else directory / name


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key of versions: numbers by value, 10 after 9."""
    parts = version.replace("-", ".").split(".")
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)


def _found(listing: Listing, model: str, version: str | None, parts: tuple[str, ...]) -> Found:
    return Found(model, version, parts, MANIFEST in listing[parts])


def _below(listing: Listing, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The directories in a directory, in order of version and name."""
    deeper = len(parts) + 1
    here = {found[:deeper] for found in listing if len(found) >= deeper and found[: len(parts)] == parts}
    for child in sorted(here, key=lambda found: (version_order(found[-1]), found[-1])):
        # Hidden entries are Kubernetes' own (`..data`) and editors'; lost+found belongs to the volume.
        if child in listing and not child[-1].startswith(".") and child[-1] != "lost+found":
            yield child


def _listing(directory: Path) -> Listing:
    """The names in a directory and two levels below it: models lie no deeper."""
    found: dict[tuple[str, ...], list[str]] = {}
    pending: list[tuple[tuple[str, ...], Path]] = [((), directory)]
    while pending:
        parts, here = pending.pop()
        children = list(here.iterdir())
        found[parts] = [child.name for child in children if child.is_file()]
        if len(parts) < 2 and not (holds_model(found[parts])):
            pending += [((*parts, child.name), child) for child in children if not child.name.startswith(".") and child.is_dir()]
    return found
