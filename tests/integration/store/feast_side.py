"""Feast, in a process of its own: it takes seconds to import and warns about itself. Tests speak to it through pickles on pipes.

Requests are (name of a function below, arguments); answers (True, result) or (False, message).
"""

import os
import pickle
import signal
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
STORES: dict[str, Any] = {}


def store(folder: str) -> Any:
    from feast import FeatureStore

    if folder not in STORES:
        STORES[folder] = FeatureStore(repo_path=folder)
    return STORES[folder]


def apply(folder: str) -> list[str]:
    from penstock_cli.features.apply import apply as run

    STORES.pop(folder, None)
    return run(Path(folder))


def stamp(folder: str, views: list[str]) -> Any:
    from penstock_cli.features.registry import layout_of

    return layout_of(store(folder), views)


def stamp_spec(folder: str, text: str) -> Any:
    from penstock.features.reading import read_spec
    from penstock_cli.features.stamp import stamp_layout

    return stamp_layout(Path(folder), read_spec(text))


def value_types() -> set[str]:
    """The names of the types that this Feast has values of."""
    from feast import ValueType

    return {kind.name for kind in ValueType} - {"UNKNOWN", "NULL"}


def value_types_of(folder: str, view: str) -> set[str]:
    return {field.dtype.to_value_type().name for field in store(folder).get_feature_view(view).features}


def write(folder: str, view: str, rows: list[tuple[dict[str, Any], dict[str, Any], float]]) -> None:
    """Rows of (key, values, event time) through Feast's own conversion of values and its own writer."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    feast = store(folder)
    definition = feast.get_feature_view(view)
    data = []
    for key, values, event_time in rows:
        keys = {field.name: field.dtype.to_value_type() for field in definition.entity_columns}
        entity = EntityKey(join_keys=list(keys), entity_values=[converted(key[name], kind) for name, kind in keys.items()])
        protos = {
            field.name: converted(values[field.name], field.dtype.to_value_type())
            for field in definition.features
            if field.name in values
        }
        data.append((entity, protos, datetime.fromtimestamp(event_time, UTC), None))
    feast._get_provider().online_write_batch(feast.config, definition, data, None)


def converted(value: Any, kind: Any) -> Any:
    """A Value message by Feast's hand, or ours for the types of bytes that Feasts before 0.67 have no conversion to."""
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values

    try:
        return python_values_to_proto_values([value], kind)[0]
    except Exception as error:
        if kind.name not in ("PDF_BYTES", "IMAGE_BYTES") or "Unsupported data type" not in str(error):
            raise
        return Value() if value is None else Value(bytes_val=value)


def read(folder: str, view: str, keys: list[dict[str, Any]], features: list[str]) -> tuple[dict[str, list[Any]], list[float]]:
    """What get_online_features says: values by feature, event times (0 where not found)."""
    response = store(folder).get_online_features([f"{view}:{name}" for name in features], keys)
    proto = response.proto
    stamps = proto.results[list(proto.metadata.feature_names.val).index(features[0])].event_timestamps
    values = response.to_dict()
    return {name: values[name] for name in features}, [stamp.seconds + stamp.nanos / 1e9 for stamp in stamps]


def teardown(folder: str) -> None:
    store(folder).teardown()
    STORES.pop(folder, None)


def serialized(key: dict[str, Any], kinds: dict[str, str], version: int) -> bytes:
    """An entity key by Feast's own hand."""
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    values = [Value(**{f"{kinds[name]}_val": value}) for name, value in key.items()]
    return serialize_entity_key(EntityKey(join_keys=list(key), entity_values=values), version)


def sdk(url: str, layout: Any) -> Any:
    """A read and two writes through the `feast:` store."""
    import asyncio

    from penstock_transformer.store.opening import open_store
    from penstock_transformer.store.port import RowWrite, SetRead
    from penstock_transformer.store.settings import StoreSettings

    async def work() -> Any:
        opened = open_store(url, layout, StoreSettings(timeout_s=30))
        await opened.start()
        found = await opened.read([SetRead("by_two", [("sdk", 0), ("sdk", 2), ("gone", 0)], ("count", "name", "amount"))])
        row = RowWrite("by_two", ("sdk", 1), {"name": "through Feast"}, 1_800_000_000.0)
        wrote = await opened.write([row, RowWrite("by_two", ("sdk", 1), {"name": "late"}, 1_700_000_000.0)])
        await opened.close()
        return found, wrote

    return asyncio.run(work())


def run(folder: str, *arguments: str) -> tuple[int, str]:
    """A `penstock features` command: exit code and output."""
    from click.testing import CliRunner

    from penstock_cli.features import features

    os.chdir(folder)
    result = CliRunner().invoke(features, list(arguments))
    trace = "" if result.exception is None or isinstance(result.exception, SystemExit) else repr(result.exception)
    return result.exit_code, result.output + trace


def interrupted_load(folder: str, batches: int, *arguments: str) -> str:
    """A load that fails when that many batches have been written."""

    def fail() -> None:
        raise OSError("interrupted")

    return ended_load(folder, batches, fail, *arguments)


def killed_load(folder: str, batches: int, *arguments: str) -> int:
    """A load in a process of its own, which is killed when that many batches have been written; the signal that ended it."""
    child = os.fork()
    if not child:
        try:
            ended_load(folder, batches, lambda: os.kill(os.getpid(), signal.SIGKILL), *arguments)
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def ended_load(folder: str, batches: int, end: Any, *arguments: str) -> str:
    from unittest.mock import patch

    from penstock_cli.features import loading
    from penstock_transformer.store.sqlite import SqliteStore

    write, written = SqliteStore.write, []

    async def failing(self: Any, rows: Any) -> Any:
        done = await write(self, rows)
        written.append(rows)
        if len(written) == batches:
            end()
        return done

    with patch.object(loading, "CHECKPOINT_BATCHES", 2), patch.object(SqliteStore, "write", failing):
        return run(folder, "load", *arguments)[1]


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    # What Feast prints must not get between the pickles.
    os.dup2(2, 1)
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, globals()[name](*arguments))
        except BaseException as error:
            answer = (False, f"{type(error).__name__}: {error}")
        pickle.dump(answer, answers)
        answers.flush()


main()
