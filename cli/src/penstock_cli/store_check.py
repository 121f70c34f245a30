"""The feature store of `penstock serve`, looked at before the server starts: what can never answer ends it, what is away is said.

    --feature_store URL -> file there? -> opened once by the bundles' layouts -> Failure | a warning | nothing

A store that is only away does not keep the server from starting: requests get 503, or defaults, until it is back.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock_cli.errors import Failure
from penstock_predictor.repository import Place
from penstock_transformer.plan import plan_of
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.settings import StoreSettings


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
    for layout in _layouts(places):
        try:
            asyncio.run(_open(url, layout, timeout_s))
        except UpstreamUnavailable as error:
            reason = " ".join(error.message.split())
            click.echo(f"Warning: {reason}; requests that need it get 503, or defaults, until it answers.", err=True)
            return
        except InvalidInput as error:
            remedy = "Correct its feature_store.yaml." if url.startswith("feast:") else None
            raise Failure(f"--feature_store: {' '.join(error.message.split())}", remedy) from None


def _layouts(places: Sequence[Place]) -> list[StoreLayout]:
    found: list[StoreLayout] = []
    for place in places:
        features = place.bundle.features if place.bundle is not None else None
        layout = None if features is None else plan_of(features).layout
        if layout is not None and layout not in found:
            found.append(layout)
    return found


async def _open(url: str, layout: StoreLayout, timeout_s: float) -> None:
    store = open_store(url, layout, StoreSettings(timeout_s=timeout_s))
    try:
        await store.start()
    finally:
        await store.close()
