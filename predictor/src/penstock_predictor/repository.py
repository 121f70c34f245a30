"""What a model directory holds: one bundle, one plain model, or a repository of them by name, or by name and version.

    DIR/bundle.yaml               a bundle
    DIR/model.onnx                a plain model (or a single *.onnx of another name)
    DIR/<version>/…               versions of the one model that the program is named after (version directories are numbers)
    DIR/<name>/…                  models by name
    DIR/<name>/<version>/…        models by name and version

Only directories are looked at here, never into a model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import InvalidInput, NotFound

MANIFEST, MODEL = "bundle.yaml", "model.onnx"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model to be served lies. `version` is what its directory says, None to take the bundle's own."""

    model: str
    version: str | None
    directory: Path
    is_bundle: bool


def find(directory: Path, model_name: str) -> list[Place]:
    """Every model of a directory, in order of name and version.

    Raises NotFound if the directory is not there, InvalidInput if it holds nothing that can be served.
    """
    if not directory.is_dir():
        raise NotFound(f"{directory} is not a directory", field="model_dir")
    if place := _place(directory, model_name, None):
        return [place]
    places: list[Place] = []
    for child in _children(directory):
        if child.name.isdigit():
            places += [place for place in [_place(child, model_name, child.name)] if place]
        elif place := _place(child, child.name, None):
            places.append(place)
        else:
            places += [place for version in _children(child) if (place := _place(version, child.name, version.name))]
    if not places:
        raise InvalidInput(f"{directory} holds neither {MANIFEST} nor {MODEL}, nor directories with them", field="model_dir")
    return places


def model_file(directory: Path) -> Path | None:
    """The plain model of a directory: model.onnx, else the only file *.onnx."""
    if (directory / MODEL).is_file():
        return directory / MODEL
    others = sorted(directory.glob("*.onnx"))
    return others[0] if len(others) == 1 else None


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key of versions: numbers by value, 10 after 9."""
    parts = version.replace("-", ".").split(".")
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def _place(directory: Path, model: str, version: str | None) -> Place | None:
    is_bundle = (directory / MANIFEST).is_file()
    if is_bundle or model_file(directory):
        return Place(model, version, directory, is_bundle)
    return None


def _children(directory: Path) -> Iterator[Path]:
    # Hidden entries are Kubernetes' own (`..data`) and editors'; lost+found belongs to the volume.
    for child in sorted(directory.iterdir(), key=lambda path: (version_order(path.name), path.name)):
        if child.is_dir() and not child.name.startswith(".") and child.name != "lost+found":
            yield child
