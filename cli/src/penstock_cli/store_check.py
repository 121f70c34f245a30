"""The feature store of `penstock serve`, looked at before the server starts: what can never answer ends it, what is away is said.

    bundles with stored features, --feature_store URL -> file there? -> opened once a layout -> Failure | a warning | nothing

A store that is only away does not keep the server from starting: requests get 503, or defaults, until it is back.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.features.spec import FeatureSpec, StoreLayout
from penstock_cli.errors import Failure
from penstock_predictor.repository import Place
from penstock_transformer.plan import plan_of
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.settings import StoreSettings


def check_features(places: Sequence[Place], url: str | None) -> None:
    """Raises Failure for a bundle that could never answer here: one with stored features, and no store to read them from."""
    if url is not None:
        return
    for place, features, _ in _stored(places):
        raise Failure(
            f"{place.directory} reads stored features ({', '.join(features.sets)}), and no feature store was given",
            "Add --feature_store URL, for example --feature_store sqlite:///online.db",
        )


def check_store_file(url: str | None) -> None:
    """Raises Failure for a store that is a file which is not there: an SQLite one would be empty, and every record missing."""
    if url is None:
        return
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///").partition("?")[0])
        remedy = "`penstock features load` fills a store."
    elif url.startswith("feast:"):
        given = Path(url.removeprefix("feast:"))
        file = given if given.suffix in (".yaml", ".yml") else given / "feature_store.yaml"
        remedy = "Give the feature_store.yaml of a Feast repository: --feature_store feast:PATH/feature_store.yaml"
    else:
        return
    if not file.is_file():
        raise Failure(f"--feature_store {url}: there is no file {file}", remedy)


def check_store(places: Sequence[Place], url: str | None, timeout_s: float) -> None:
    """Open the store once, as the bundles will; one line on stderr if it does not answer within `timeout_s`.

    Raises Failure for one that cannot be opened however long it is waited for.
    """
    if url is None:
        return
    layouts: list[StoreLayout] = []
    for _, _, layout in _stored(places):
        if layout not in layouts:
            layouts.append(layout)
    for layout in layouts:
        try:
            asyncio.run(_open(url, layout, timeout_s))
        except UpstreamUnavailable as error:
            reason = " ".join(error.message.split())
            click.echo(f"Warning: {reason}; requests that need it get 503, or defaults, until it answers.", err=True)
            return
        except InvalidInput as error:
            remedy = "Correct its feature_store.yaml." if url.startswith("feast:") else None
            raise Failure(f"--feature_store: {' '.join(error.message.split())}", remedy) from None


def _stored(places: Sequence[Place]) -> Iterator[tuple[Place, FeatureSpec, StoreLayout]]:
    """The bundles that read stored features, with their specs and layouts."""
    for place in places:
        features = place.bundle.features if place.bundle is not None else None
        layout = None if features is None else plan_of(features).layout
        if features is not None and layout is not None:
            yield place, features, layout


async def _open(url: str, layout: StoreLayout, timeout_s: float) -> None:
    store = open_store(url, layout, StoreSettings(timeout_s=timeout_s))
    try:
        await store.start()
    finally:
        await store.close()
