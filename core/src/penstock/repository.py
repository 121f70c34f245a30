"""The port of a model repository: what is there, load it, unload it; asked alike by REST, gRPC and the admin port.

    POST /v2/repository/… --+
    gRPC RepositoryIndex … -+--> ModelRepository --> the predictor's models
    admin port -------------+

The form is that of the Open Inference Protocol's model repository extension, which Triton and KServe share.

Invariant: a call that returns has taken effect in every worker; one that raises has changed nothing in the worker that it failed
in. (Workers read the same files and hardly ever disagree; where memory sufficed for some of them alone, the call is repeated.)
"""

from collections.abc import Mapping
from typing import Any, Protocol

Entry = dict[str, Any]
"""One version of one model: `name`, `version`, `state` (READY, LOADING, UNAVAILABLE), `reason` (why it is not ready, else empty)
and `bundle` (`name@sha256:…`, empty where it is not known)."""


class ModelRepository(Protocol):
    """Models that are served and models that could be."""

    async def index(self, ready_only: bool = False) -> list[Entry]:
        """Every model and version that serves, then what lies in the repository and does not; `ready_only`: only the former."""

    async def load(self, model: str, version: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        """Load a model anew from the repository: verified and warm before it takes traffic, the old one drains. `version` None:
        every version that the repository holds, in place of those that serve.

        Raises NotFound for a model or version that the repository lacks, InvalidInput with the file or parameter at fault (no
        parameters are known: what they would override is the bundle's to say); then what served before serves on.
        """

    async def unload(self, model: str, version: str | None = None) -> None:
        """Serve a model, or one version of it, no longer; what was taken is still answered. Raises NotFound."""
