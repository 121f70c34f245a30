"""`penstock features stream`: the updates of feature sets from Kafka into the online store, until it is stopped.

registry or bundle -> layout -> Stream (penstock_transformer.updates) -> SIGINT, SIGTERM -> what was read is written -> counts
"""

import asyncio
import json
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from penstock import logs
from penstock.features.spec import StoreLayout
from penstock.settings import hide_password
from penstock_cli.errors import Command, Failure
from penstock_cli.features.registry import layout_of, open_feast
from penstock_cli.features.repository import open_repository
from penstock_cli.progress import Progress
from penstock_cli.setting_options import add_options
from penstock_transformer.updates.program import read_features, views_of
from penstock_transformer.updates.settings import StreamSettings
from penstock_transformer.updates.stream import Stream
from penstock_transformer.updates.topics import letters_topic, updates_topic
from penstock_transformer.worker.effects import Stop

PREFIX = "PENSTOCK_TRANSFORMER"
_GRACE_S = 20.0


@dataclass(frozen=True)
class _Order:
    """What is streamed where."""

    settings: StreamSettings
    views: dict[str, str]
    layout: StoreLayout
    url: str


@click.command(
    "stream", cls=Command, epilog=f"The settings from --delivery on are also variables: {PREFIX}_KAFKA_BOOTSTRAP and so on."
)
@click.argument("names", metavar="FEATURE_SET…", nargs=-1, required=True)
@click.option("--repo", type=click.Path(path_type=Path, file_okay=False), default=".", help="The Feast repository [this folder].")
@click.option(
    "--bundle", type=click.Path(path_type=Path, exists=True), help="A bundle or features.yaml instead of --repo: no Feast."
)
@click.option("--feature-store", "--feature_store", "url", help="Another online store than feature_store.yaml names.")
@click.option("--json", "as_json", is_flag=True, help="Log JSON lines, and print the counts as JSON at the end.")
def command(names: tuple[str, ...], repo: Path, bundle: Path | None, url: str | None, as_json: bool, **options: Any) -> None:
    """Write the updates of FEATURE_SET (a feature view, or with --bundle a set of its features.yaml) into the online store.

    They are read from the topic FEATURE_SET.updates, as JSON: {"keys": {…}, "values": {…}, "event_time": "…"}. An update that is
    not newer than what the store holds changes nothing; one that cannot be written goes to FEATURE_SET.updates.dead-letters with
    the reason. Several may run at once and share the work.
    """
    settings = StreamSettings(**options)
    if not settings.kafka_bootstrap:
        raise click.UsageError("say where Kafka is: --kafka-bootstrap HOST:PORT")
    logs.configure("info" if as_json else "warning")
    order = _order(settings, tuple(dict.fromkeys(names)), repo, bundle, url)
    if not as_json:
        topics = ", ".join(map(updates_topic, order.views))
        click.echo(f"{topics} -> {hide_password(order.url)}; Ctrl-C stops it.", err=True)
    counts, stop = asyncio.run(_stream(order))
    _tell(counts, list(order.views), as_json)
    if stop.status:
        raise Failure(f"the stream ended: {stop.reason}")


add_options(
    command, StreamSettings, PREFIX, first=("delivery", "kafka_bootstrap", "kafka_create_topics", "kafka_client", "group_id")
)


def _order(settings: StreamSettings, names: tuple[str, ...], repo: Path, bundle: Path | None, url: str | None) -> _Order:
    if bundle is not None:
        if url is None:
            raise click.UsageError("a bundle does not say where the store is: --feature-store URL")
        spec = read_features(bundle)
        assert spec.store is not None
        return _Order(settings, views_of(spec, names), spec.store, url)
    repository = open_repository(repo)
    with Progress("stream") as step:
        step.say("importing Feast")
        layout = layout_of(open_feast(repository.path), list(names))
    return _Order(settings, {name: name for name in names}, layout, url or repository.online_url)


async def _stream(order: _Order) -> tuple[dict[str, int], Stop]:
    stream = Stream(order.settings, order.views, order.layout, order.url)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    asked = asyncio.create_task(stopping.wait())
    running = asyncio.create_task(_run(stream))
    await asyncio.wait({asked, running}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    stop = Stop("stopped", 0)
    try:
        if running.done():
            stop = running.result()
        elif stream.shell is not None:
            await stream.drain(_GRACE_S)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(running, return_exceptions=True)
        await stream.close()
    updating = stream.updating
    return {"written": updating.written, "unchanged": updating.unchanged, "refused": updating.refused}, stop


async def _run(stream: Stream) -> Stop:
    await stream.start()
    return await stream.stopped()


def _tell(counts: dict[str, int], names: list[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(counts))
        return
    where = f", see {', '.join(map(letters_topic, names))}" if counts["refused"] else ""
    text = (
        f"{counts['written']:,} written, {counts['unchanged']:,} not newer than the store, {counts['refused']:,} refused{where}"
    )
    click.echo(text)
