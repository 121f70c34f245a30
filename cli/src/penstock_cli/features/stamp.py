"""The stamp: what a bundle has to know of Feast's registry, taken when the bundle is built, so that serving needs no Feast."""

from pathlib import Path

from penstock.errors import InvalidInput
from penstock.features.spec import FeatureSpec, StoreLayout
from penstock_cli.features.registry import layout_of, open_feast


def stamp_layout(repo_path: Path, spec: FeatureSpec) -> StoreLayout:
    """The layout of the spec's sets, from the registry of the repository at `repo_path`.

    Raises InvalidInput naming the set whose view is unknown, computed on demand, keyed otherwise or lacks a column.
    """
    store = open_feast(repo_path)
    layout = layout_of(store, [one.view for one in spec.sets.values()])
    for one in spec.sets.values():
        view = layout.views[one.view]
        if set(view.keys) != set(one.keys):
            expected, got = sorted(view.keys), sorted(one.keys)
            raise InvalidInput(f"view {one.view!r} is keyed by {expected}, the spec says {got}", field=f"sets.{one.name}.keys")
        for feature in spec.stored(one.name):
            if feature.column not in view.values:
                has = ", ".join(view.values)
                raise InvalidInput(f"view {one.view!r} has no column {feature.column!r}; it has {has}", field=feature.name)
    return layout
