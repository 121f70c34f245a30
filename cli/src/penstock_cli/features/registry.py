"""Feast's registry through Feast: the only place in the command line that imports it, quietly and when it is needed.

repository folder -> open_feast -> FeatureStore;   FeatureStore, view name -> ViewDefinition
"""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import InvalidInput
from penstock.features.spec import StoreLayout, ViewLayout
from penstock_transformer.store.feast_import import unchecked
from penstock_transformer.store.value_types import value_type

_COLLECTIONS = ("list", "set")
# Feast's names of collections whose elements have no name of their own.
_ODD_NAMES = {"value_list": "list<value>", "value_set": "set<value>"}
_DUMMY_KEY = "__dummy_id"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Feast's warnings and log lines to itself: they speak of its own insides, to its own developers."""
    logger = logging.getLogger("feast")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Feast imports definitions as modules of the working directory. What other modules have these names is out of the way until
    then, and they are forgotten afterwards: one process can apply several repositories, or one of them twice."""
    names = {".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")}
    hidden = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        for name in names & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(hidden)


def open_feast(folder: Path, *, checked: bool = False) -> Any:
    """Feast's own FeatureStore for a repository; `checked` for whoever runs its definitions, so that Feast checks their types.
    Raises InvalidInput where Feast is missing or refuses the repository."""
    with quiet():
        try:
            with nullcontext() if checked else unchecked():
                from feast import FeatureStore
        except ImportError as error:
            raise InvalidInput(f"Feast cannot be imported: {error}; install penstock-cli", field="feast") from None
        try:
            return FeatureStore(repo_path=str(folder))
        except Exception as error:
            # Feast raises whatever its parts raise; what it says is all there is to say.
            raise InvalidInput(f"Feast refuses this repository: {error}", field=str(folder)) from None


@dataclass(frozen=True, slots=True)
class ViewDefinition:
    """A feature view as the registry has it. `renames` maps a source's column to the feature made of it; `history` is the local
    Parquet file that point-in-time joins read, or None if the history is elsewhere."""

    name: str
    layout: ViewLayout
    timestamp_field: str | None
    renames: dict[str, str]
    history: Path | None


def layout_of(store: Any, views: list[str]) -> StoreLayout:
    """The layout of these views. Raises InvalidInput naming the view or the setting that cannot be read without Feast."""
    config = store.config
    if getattr(config.registry, "enable_online_feature_view_versioning", False):
        raise InvalidInput(
            "versioned online tables are not read directly; use feast:…", field="registry.enable_online_feature_view_versioning"
        )
    version = int(config.entity_key_serialization_version)
    if version not in (2, 3):
        raise InvalidInput(f"version {version} is not supported; expected 2 or 3", field="entity_key_serialization_version")
    return StoreLayout(config.project, version, {name: view_definition(store, name).layout for name in dict.fromkeys(views)})


def view_definition(store: Any, name: str) -> ViewDefinition:
    """One view of the registry. Raises InvalidInput for a view that is unknown, computed on demand, or of an unknown type."""
    with quiet():
        view = _find(store, name)
        keys = {field.name: _type_name(field) for field in view.entity_columns}
        values = {field.name: _type_name(field) for field in view.features}
    if not keys or _DUMMY_KEY in keys:
        raise InvalidInput("a view without entities cannot be looked up by key", field=name)
    for column, kind in values.items():
        value_type(kind, f"{name}.{column}")
    ttl = view.ttl.total_seconds() if view.ttl else None
    source = getattr(view, "batch_source", None)
    return ViewDefinition(
        name=name,
        layout=ViewLayout(keys, values, ttl or None),
        timestamp_field=getattr(source, "timestamp_field", None) or None,
        renames=dict(getattr(source, "field_mapping", None) or {}),
        history=_history(store, source),
    )


def _find(store: Any, name: str) -> Any:
    views = {view.name: view for view in (*store.list_feature_views(), *store.list_stream_feature_views())}
    if name not in views:
        # By their protobufs: Feast's own objects of on-demand views carry code, which would be run to list them.
        if any(view.spec.name == name for view in store.registry.proto().on_demand_feature_views):
            computed = "is an on-demand feature view: Feast computes its values at each read and stores none"
            raise InvalidInput(f"{computed}; make them an encoding instead", field=name)
        known = ", ".join(sorted(views)) or "none (run `penstock features apply` first)"
        raise InvalidInput(f"the registry has no feature view of this name; it has {known}", field=name)
    if not views[name].online:
        raise InvalidInput("is defined with online=False: nothing of it is in the online store", field=name)
    return views[name]


def _type_name(field: Any) -> str:
    name = str(field.dtype.to_value_type().name).lower()
    if name in _ODD_NAMES:
        return _ODD_NAMES[name]
    element, _, collection = name.rpartition("_")
    return f"{collection}<{element}>" if element and collection in _COLLECTIONS else name


def _history(store: Any, source: Any) -> Path | None:
    path = getattr(source, "path", None)
    if type(source).__name__ != "FileSource" or not isinstance(path, str) or "://" in path:
        return None
    return Path(store.repo_path) / path if path.endswith((".parquet", ".pq")) else None
