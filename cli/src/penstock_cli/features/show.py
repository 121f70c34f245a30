"""`penstock features show`: what the online store holds for a key, through the readers that serve, and how old it is."""

import asyncio
import base64
import json
import math
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from penstock.errors import InvalidInput
from penstock_cli.errors import Command, Failure
from penstock_cli.features.cells import cell_value
from penstock_cli.features.registry import layout_of, open_feast
from penstock_cli.features.repository import open_repository
from penstock_cli.progress import Progress
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import FeatureStore, SetColumns, SetRead
from penstock_transformer.store.value_types import value_type


@click.command("show", cls=Command)
@click.argument("name", metavar="[VIEW]", required=False)
@click.option("--view", help="The feature view (or name it as the argument).")
@click.option("--key", "keys", multiple=True, help="A join key's value, NAME=VALUE; all of the view's join keys.")
@click.option("--repo", type=click.Path(path_type=Path, file_okay=False), default=".", help="The Feast repository [this folder].")
@click.option("--feature-store", "--feature_store", "url", help="Another online store than feature_store.yaml names.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, help="Without --key: how many keys to list.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    name: str | None, view: str | None, keys: tuple[str, ...], repo: Path, url: str | None, limit: int, as_json: bool
) -> None:
    """Show the values of one key of VIEW and their age, or without --key some of the keys that the store holds."""
    view = view or name
    if not view:
        raise click.UsageError("name the view: penstock features show VIEW --key NAME=VALUE")
    repository = open_repository(repo)
    with Progress("show") as step:
        step.say("importing Feast")
        layout = layout_of(open_feast(repository.path), [view])
    store = open_store(url or repository.online_url, layout)
    types = layout.views[view].keys
    if not keys:
        found = asyncio.run(_keys(store, view, limit))
        for key in found:
            click.echo(json.dumps(dict(zip(types, map(plain, key), strict=True)), ensure_ascii=False))
        return
    key = parse_key(keys, types)
    features = tuple(layout.views[view].values)
    answer = asyncio.run(_values(store, SetRead(view, [key], features)))
    event_time = float(answer.event_times[0])
    if math.isnan(event_time):
        raise Failure(f"{view} holds nothing under {', '.join(keys)}", f"List what it holds: {_listing(view, repo, url)}")
    values = {feature: plain(answer.columns[feature].to_list()[0]) for feature in features}
    when, age_s = datetime.fromtimestamp(event_time, UTC), time.time() - event_time
    if as_json:
        click.echo(json.dumps({"view": view, "values": values, "event_time": when.isoformat(), "age_s": round(age_s, 3)}))
        return
    click.echo(f"as of {when.isoformat(sep=' ', timespec='seconds')}, {spoken(age_s)} old")
    width = max(map(len, features))
    for feature, value in values.items():
        click.echo(f"{feature:<{width}}  {'(none)' if value is None else json.dumps(value, ensure_ascii=False)}")


def _listing(view: str, repo: Path, url: str | None) -> str:
    """The command that lists a view's keys in the same place."""
    where = ["--repo", str(repo)] if repo != Path() else []
    return shlex.join(["penstock", "features", "show", view, *where, *(["--feature-store", url] if url else [])])


async def _values(store: FeatureStore, read: SetRead) -> SetColumns:
    await store.start()
    try:
        return (await store.read([read]))[0]
    finally:
        await store.close()


async def _keys(store: FeatureStore, view: str, limit: int) -> list[tuple[Any, ...]]:
    await store.start()
    try:
        found: list[tuple[Any, ...]] = []
        cursor = None
        while len(found) < limit:
            page, cursor = await store.scan(view, cursor, limit - len(found))
            found += page
            if cursor is None:
                break
        return found
    finally:
        await store.close()


def parse_key(given: tuple[str, ...], types: dict[str, str]) -> tuple[Any, ...]:
    """The entity key of `NAME=VALUE` texts, in the layout's order. Raises InvalidInput naming the join key."""
    texts: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator and len(types) == 1:
            name, value = next(iter(types)), text
        if name not in types:
            raise InvalidInput(f"no join key {name!r}; expected {', '.join(types)}", field="--key")
        texts[name] = value
    missing = [name for name in types if name not in texts]
    if missing:
        raise InvalidInput(f"give the join key {missing[0]!r} too: --key {missing[0]}=VALUE", field="--key")
    values = []
    for name, kind in types.items():
        try:
            values.append(texts[name] if kind == "string" else cell_value(texts[name], value_type(kind, name)))
        except ValueError as error:
            raise InvalidInput(f"{error}, got {texts[name]!r}", field=f"--key {name}") from None
    return tuple(values)


def plain(value: Any) -> Any:
    """A stored value as JSON shows it: bytes as base64, arrays as lists."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def spoken(seconds: float) -> str:
    """An age in the largest unit that fits: `3.2 days`."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"
