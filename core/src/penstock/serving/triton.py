"""The routes that Triton's clients ask for beside the protocol's: a model's configuration, and statistics.

What else such a client may call (shared memory, trace and log settings) is answered 404, as every path that is not here.
"""

import orjson
from fastapi import FastAPI, Response

from penstock.dataplane import DataPlane
from penstock.metrics import Metrics
from penstock.protocol.metadata import model_metadata
from penstock.protocol.triton import model_config, model_statistics
from penstock.serving.asgi import plain_response
from penstock.serving.exposition import model_snapshots

_JSON = b"application/json"


def add_triton_routes(app: FastAPI, plane: DataPlane, metrics: Metrics) -> None:
    """Add them; before the protocol's own, as `/v2/models/stats` would be a model's metadata there."""

    @app.get("/v2/models/stats", summary="Statistics of all models (Triton)")
    async def all_statistics() -> Response:
        if "stats" in plane.models():
            metadata = await plane.metadata("stats")
            return plain_response(200, orjson.dumps(model_metadata(metadata)), _JSON, b"")
        return await _statistics(*((name, None) for name in plane.models()))

    @app.get("/v2/models/{model}/stats", summary="A model's statistics (Triton)")
    async def statistics(model: str) -> Response:
        return await _statistics((model, None))

    @app.get("/v2/models/{model}/versions/{version}/stats", summary="A version's statistics (Triton)")
    async def version_statistics(model: str, version: str) -> Response:
        return await _statistics((model, version))

    @app.get("/v2/models/{model}/config", summary="A model's configuration (Triton)")
    async def config(model: str) -> Response:
        return await _config(model, None)

    @app.get("/v2/models/{model}/versions/{version}/config", summary="A version's configuration (Triton)")
    async def version_config(model: str, version: str) -> Response:
        return await _config(model, version)

    async def _config(model: str, version: str | None) -> Response:
        metadata = await plane.metadata(model, version)
        return plain_response(200, orjson.dumps(model_config(metadata)), _JSON, metrics.model(model, metadata.bundle).header)

    async def _statistics(*wanted: tuple[str, str | None]) -> Response:
        found = [await plane.metadata(model, version) for model, version in wanted]
        snapshots = await model_snapshots(app.state, metrics)
        document = {"model_stats": [model_statistics(metadata, snapshots) for metadata in found]}
        return plain_response(200, orjson.dumps(document), _JSON, b"")
