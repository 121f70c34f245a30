"""A model's configuration and statistics as messages: the same documents as over REST, `protocol.triton` makes them."""

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.json_format import ParseDict

from penstock.dataplane import ModelMetadata
from penstock.metrics import Snapshot
from penstock.protocol.grpc.messages import POOL, ModelConfigResponse, ModelStatisticsResponse
from penstock.protocol.triton import model_config, model_statistics


def config_message(metadata: ModelMetadata) -> Any:
    """A ModelConfigResponse."""
    return ParseDict({"config": model_config(metadata)}, ModelConfigResponse(), descriptor_pool=POOL)


def statistics_message(found: Sequence[ModelMetadata], snapshots: Iterable[Snapshot]) -> Any:
    """A ModelStatisticsResponse of these models."""
    counters = list(snapshots)
    document = {"model_stats": [model_statistics(metadata, counters) for metadata in found]}
    return ParseDict(document, ModelStatisticsResponse(), descriptor_pool=POOL)
