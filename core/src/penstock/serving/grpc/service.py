"""The service's calls but inference: health, metadata, the model repository. Bytes in, bytes out, like all of them.

Each is a small function from a message to a message; what it raises becomes the call's status.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from penstock import __version__
from penstock.dataplane import DataPlane
from penstock.errors import InvalidInput, PenstockError
from penstock.lifecycle import State
from penstock.metrics import Snapshot
from penstock.protocol.grpc import messages
from penstock.protocol.grpc.decoding import parse
from penstock.protocol.grpc.parameters import read_parameters
from penstock.protocol.grpc.triton import config_message, statistics_message
from penstock.protocol.metadata import server_metadata
from penstock.repository import ModelRepository
from penstock.serving.context import request_id
from penstock.serving.faults import fault
from penstock.serving.grpc.call import admit, headers_of, peer_of
from penstock.serving.grpc.status import abort, trailers, unimplemented
from penstock.serving.security.scopes import ADMIN, DESCRIBE
from penstock.serving.shell import Shell

if TYPE_CHECKING:
    import grpc

logger = logging.getLogger(__name__)

Handler = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]
Need = Callable[[Any], tuple[str, str | None]]
Snapshots = Callable[[], Awaitable[list[Snapshot]]]
"""The counters of every worker."""

# Triton's extensions that are there, beside those of HTTP.
_EXTENSIONS = ("model_repository",)
_NO_REPOSITORY = "the model repository is not open on this port; a predictor opens it with --repository_api"


class NoRepository(Exception):
    """A call of the model repository, which this server does not open here."""


class Service:
    """The calls, by name, in `handlers`."""

    def __init__(self, plane: DataPlane, shell: Shell, repository: ModelRepository | None, snapshots: Snapshots) -> None:
        self._plane = plane
        self._shell = shell
        self.handlers: dict[str, Handler] = {
            "ServerLive": self._handler(messages.ServerLiveRequest, self._live, None),
            "ServerReady": self._handler(messages.ServerReadyRequest, self._ready, None),
            "ModelReady": self._handler(messages.ModelReadyRequest, self._model_ready, _describes_model),
            "ServerMetadata": self._handler(messages.ServerMetadataRequest, self._server_metadata, _describes),
            "ModelMetadata": self._handler(messages.ModelMetadataRequest, self._model_metadata, _describes_model),
            "ModelConfig": self._handler(messages.ModelConfigRequest, self._config, _describes_model),
            "ModelStatistics": self._handler(messages.ModelStatisticsRequest, self._statistics, _describes_model),
        }
        self._snapshots = snapshots
        self._repository = repository
        self.handlers |= {
            "RepositoryIndex": self._handler(messages.RepositoryIndexRequest, self._index, _administers),
            "RepositoryModelLoad": self._handler(messages.RepositoryModelLoadRequest, self._load, _administers_model),
            "RepositoryModelUnload": self._handler(messages.RepositoryModelUnloadRequest, self._unload, _administers_model),
        }

    def _handler(self, kind: Any, answer: Callable[[Any], Awaitable[Any]], need: Need | None) -> Handler:
        """The handler of one call: `need` says what its caller must be allowed, None nothing."""

        async def handle(message: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            headers = headers_of(context)
            identity = request_id(headers)
            error: PenstockError
            try:
                request = parse(kind, message)
                if need is not None and self._shell.guard is not None:
                    verb, model = need(request)
                    await admit(self._shell, headers, model, verb, peer_of(context))
                made: bytes = (await answer(request)).SerializeToString()
            except NoRepository:
                await unimplemented(context, _NO_REPOSITORY, trailers(identity, ""))
            except PenstockError as raised:
                error = raised
            except Exception as raised:
                error = fault(logger, "call failed", raised, identity)
            else:
                context.set_trailing_metadata(trailers(identity, ""))
                return made
            return await abort(context, error, trailers(identity, error.bundle or ""))

        return handle

    async def _live(self, _: Any) -> Any:
        return messages.ServerLiveResponse(live=True)

    async def _ready(self, _: Any) -> Any:
        return messages.ServerReadyResponse(ready=self._shell.lifecycle.ready and self._plane.ready())

    async def _model_ready(self, request: Any) -> Any:
        ready = self._plane.ready(_model(request.name, "name"), request.version or None)
        return messages.ModelReadyResponse(ready=ready and self._shell.lifecycle.state is State.READY)

    async def _server_metadata(self, _: Any) -> Any:
        document = server_metadata()
        extensions = [*document["extensions"], *(_EXTENSIONS if self._repository is not None else ())]
        return messages.ServerMetadataResponse(
            name=document["name"], version=__version__, extensions=list(dict.fromkeys(extensions))
        )

    async def _model_metadata(self, request: Any) -> Any:
        found = await self._plane.metadata(_model(request.name, "name"), request.version or None)
        made = messages.ModelMetadataResponse(name=found.name, versions=found.versions, platform=found.platform)
        for tensors, wire in ((found.inputs, made.inputs), (found.outputs, made.outputs)):
            for tensor in tensors:
                wire.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return made

    async def _config(self, request: Any) -> Any:
        return config_message(await self._plane.metadata(_model(request.name, "name"), request.version or None))

    async def _statistics(self, request: Any) -> Any:
        names = [request.name] if request.name else self._plane.models()
        found = [await self._plane.metadata(name, request.version or None) for name in names]
        return statistics_message(found, await self._snapshots())

    # --- the model repository

    def _open_repository(self) -> ModelRepository:
        if self._repository is None:
            raise NoRepository
        return self._repository

    async def _index(self, request: Any) -> Any:
        made = messages.RepositoryIndexResponse()
        for entry in await self._open_repository().index(request.ready):
            made.models.add(**{name: str(entry.get(name) or "") for name in ("name", "version", "state", "reason")})
        return made

    async def _load(self, request: Any) -> Any:
        repository = self._open_repository()
        model = _model(_named(request), "model_name")
        await repository.load(model, parameters=_parameters(request) or None)
        return messages.RepositoryModelLoadResponse(model_name=model, isLoaded=True)

    async def _unload(self, request: Any) -> Any:
        repository = self._open_repository()
        model = _model(_named(request), "model_name")
        parameters = _parameters(request)
        # Triton's clients always say whether dependents go too; no model here depends on another.
        parameters.pop("unload_dependents", None)
        if parameters:
            raise InvalidInput("no such parameter is known", field=f"parameters.{next(iter(parameters))}")
        await repository.unload(model)
        return messages.RepositoryModelUnloadResponse(model_name=model, isUnloaded=True)


def _named(request: Any) -> str:
    """The model's name: Triton's field, or KServe's, which is Triton's name of a repository."""
    found: str = request.model_name or request.repository_name
    return found


def _model(name: str, field: str) -> str:
    if not name:
        raise InvalidInput("expected a model's name, got an empty string", field=field)
    return name


def _parameters(request: Any) -> dict[str, Any]:
    return read_parameters(request.parameters, "parameters")


def _describes(_: Any) -> tuple[str, str | None]:
    return DESCRIBE, None


def _describes_model(request: Any) -> tuple[str, str | None]:
    return DESCRIBE, request.name or None


def _administers(_: Any) -> tuple[str, str | None]:
    return ADMIN, None


def _administers_model(request: Any) -> tuple[str, str | None]:
    return ADMIN, _named(request) or None
