"""The cluster that a rollout command speaks to: kubectl's own configuration, and the few calls that are made of it.

    --kubeconfig, --context, --namespace --open_cluster--> Cluster --list, watch, patch--> ModelVersions, a model's route

Inside of a pod without a kubeconfig it is the pod's own cluster, by its service account.

Invariant: what goes wrong is raised as a PenstockError in the user's words; every call has a deadline.
"""

import contextlib
import importlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3.exceptions
import yaml
from kubernetes import client
from kubernetes.config.config_exception import ConfigException

from penstock.errors import Conflict, Forbidden, InvalidInput, NotFound, PenstockError, Unauthenticated, UpstreamUnavailable
from penstock_operator.model_version import GROUP, PLURAL, VERSION, ModelVersion, read_model_version
from penstock_operator.route import read_route_document, route_name
from penstock_operator.seen import Route

CONNECT_S, ANSWER_S = 5.0, 15.0
"""Longest wait for a connection to the API server, and for one answer."""
WATCH_S = 240
"""How long one watch is asked to last; the next one goes on where it ended."""
# Without types of its own.
config: Any = importlib.import_module("kubernetes.config")
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_NO_RESOURCE = "the cluster knows no ModelVersions: penstock's chart is not installed there (or without its CRD)"


@dataclass(frozen=True, slots=True)
class Change:
    """An event of a watch: `gone` says that the version is there no more."""

    version: ModelVersion
    gone: bool


class Cluster:
    """ModelVersions of one namespace, of all for `namespace` None. Its calls raise PenstockErrors; safe to use in threads."""

    def __init__(self, api: client.ApiClient, namespace: str | None) -> None:
        self.namespace = namespace
        self._objects = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    def versions(self) -> tuple[list[ModelVersion], str]:
        """All that can be read, and the resourceVersion of the list."""
        try:
            found = self._listed(_request_timeout=(CONNECT_S, ANSWER_S))
        except Exception as error:
            raise _told(error, "ModelVersions", missing=_NO_RESOURCE) from None
        return [one for one in map(_readable, found["items"]) if one is not None], found["metadata"]["resourceVersion"]

    def watch(self, since: str) -> "Watch":
        """What happens after a resourceVersion, for some minutes at most. Raises Conflict when the server does not know so far
        back: list again."""
        try:
            answer = self._listed(
                watch=True,
                resource_version=since,
                timeout_seconds=WATCH_S,
                _preload_content=False,
                _request_timeout=(CONNECT_S, WATCH_S + ANSWER_S),
            )
            if answer.status != 200:
                raise _error_of(answer.status, answer.read())
        except Exception as error:
            raise _told(error, "ModelVersions", missing=_NO_RESOURCE) from None
        return Watch(answer)

    def route(self, namespace: str, model: str) -> Route | None:
        """The route that the model's transformers follow; None if there is none, or it may not be read."""
        try:
            found = self._core.read_namespaced_config_map(route_name(model), namespace, _request_timeout=(CONNECT_S, ANSWER_S))
            return read_route_document(self._core.api_client.sanitize_for_serialization(found))
        except Exception as error:
            told = _told(error, "the route")
            if isinstance(told, NotFound | Forbidden):
                return None
            raise told from None

    def annotate(self, version: ModelVersion, annotations: dict[str, str | None]) -> None:
        """Write annotations, None to take one away, on the version as it was seen. Raises Conflict if it has changed since."""
        seen = {"uid": version.uid, "resourceVersion": version.resource_version}
        try:
            self._objects.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                version.namespace,
                PLURAL,
                version.name,
                {"metadata": seen | {"annotations": annotations}},
                field_manager="penstock-rollout",
                _content_type="application/merge-patch+json",
                _request_timeout=(CONNECT_S, ANSWER_S),
            )
        except Exception as error:
            raise _told(error, f"ModelVersion {version.name}") from None

    def _listed(self, **given: Any) -> Any:
        if self.namespace is None:
            return self._objects.list_cluster_custom_object(GROUP, VERSION, PLURAL, **given)
        return self._objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, **given)


class Watch:
    """Events of the API server as they come. `stop` ends it from another thread."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[Change]:
        held = b""
        try:
            for part in self._answer.stream(None):
                *lines, held = (held + part).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _error_of(event["object"].get("code", 500), json.dumps(event["object"]).encode())
                    version = _readable(event["object"])
                    if version is not None:
                        yield Change(version, event["type"] == "DELETED")
        except Exception as error:
            raise _told(error, "ModelVersions") from None
        finally:
            self._answer.close()

    def stop(self) -> None:
        """End it: whoever iterates sees its end, or an error."""
        taken = getattr(self._answer.connection, "sock", None)
        if taken is not None:
            with contextlib.suppress(OSError):
                taken.shutdown(socket.SHUT_RDWR)


def open_cluster(kubeconfig: str | None, context: str | None, namespace: str | None, *, everywhere: bool = False) -> Cluster:
    """The cluster of a kubeconfig (`$KUBECONFIG`, else ~/.kube/config), or of the pod that this runs in. Raises InvalidInput."""
    settings = client.Configuration()
    try:
        config.load_kube_config(kubeconfig, context, client_configuration=settings, persist_config=False)
        found = _namespace_of(kubeconfig, context)
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        # The library looks into a kubeconfig without looking at it first.
        if kubeconfig or context or not (_ACCOUNT / "token").exists():
            where = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
            raise InvalidInput(f"{where}: {_first_line(error) or 'cannot be read'}", field="kubeconfig") from None
        config.load_incluster_config(client_configuration=settings)
        found = (_ACCOUNT / "namespace").read_text().strip()
    # Who waits at a terminal wants to know at once; `watch` tries again by itself.
    settings.retries = urllib3.Retry(0)
    return Cluster(client.ApiClient(settings), None if everywhere else namespace or found)


def _namespace_of(kubeconfig: str | None, context: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(kubeconfig)
    chosen = active if context is None else next(one for one in contexts if one["name"] == context)
    return str(chosen["context"].get("namespace") or "default")


def _readable(document: dict[str, Any]) -> ModelVersion | None:
    """None for one that this release cannot read: the others are shown nevertheless."""
    try:
        return read_model_version(document)
    except (KeyError, ValueError):
        return None


def _told(error: Exception, what: str, *, missing: str | None = None) -> PenstockError:
    """What a client library raised, in the words of this command."""
    if isinstance(error, PenstockError):
        return error
    if isinstance(error, client.ApiException):
        return _answered(error, what, missing)
    if isinstance(error, urllib3.exceptions.HTTPError | OSError):
        reason = getattr(error, "reason", None) or error
        return UpstreamUnavailable(f"the API server does not answer: {_first_line(reason)}")
    raise error


def _error_of(status: int, body: bytes) -> Exception:
    error: Any = client.ApiException(status=status, reason=str(status))
    error.body = body
    found: Exception = error
    return found


def _answered(error: Any, what: str, missing: str | None) -> PenstockError:
    message = _message(error)
    if error.status == 401:
        return Unauthenticated("the API server does not know who asks: have the kubeconfig's credentials expired?")
    if error.status == 403:
        return Forbidden(message)
    if error.status == 404:
        return NotFound(missing or f"there is no {what}")
    if error.status in (409, 410):
        return Conflict(message)
    if error.status in (400, 422):
        return InvalidInput(message)
    return UpstreamUnavailable(f"the API server answered {error.status}: {message}")


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        return _first_line(error.reason or error)


def _first_line(error: object) -> str:
    return str(error).strip().split("\n")[0].split(" object at 0x")[0][:300]
