"""The `Cluster` port over HTTPS: the API's own paths, JSON, server-side apply with the field manager `penstock-operator`.

    (kind, namespace, name) -> /apis/{group}/{version}/namespaces/{ns}/{plural}/{name} -> answer, or one of cluster's errors

Every call has a deadline, a watch one for its silence (the server sends bookmarks about once a minute). One pool of connections,
kept alive; a token is read anew for every call, because the kubelet replaces it.
(kubernetes.io/docs/reference/using-api: api-concepts, server-side-apply.)
"""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson

from penstock.errors import InvalidInput
from penstock_operator.cluster import (
    PODS,
    Change,
    Changed,
    ClusterError,
    Gone,
    Kind,
    Missing,
    Object,
    Refused,
)
from penstock_operator.kube_config import Credentials

MANAGER = "penstock-operator"
_CALL_S = 12.0
"""The server gives a webhook 10 s unless it is told otherwise, and then says which one did not answer."""
_WATCH_S = 300
_SILENT_S = 330.0
_PAGE = 500
_ERRORS: dict[int, type[ClusterError]] = {
    400: Refused, 403: Refused, 404: Missing, 405: Refused, 409: Changed, 410: Gone, 415: Refused, 422: Refused,
}  # fmt: skip


class KubeCluster:
    """Implements `Cluster`. Open it in the loop that uses it, and close it there."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        tls = credentials.tls if credentials.tls is not None else False
        connector = aiohttp.TCPConnector(ssl=tls, limit=64, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(connector=connector, json_serialize=lambda value: orjson.dumps(value).decode())

    async def close(self) -> None:
        await self._session.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return await self._call("GET", _path(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[list[Object], str]:
        """Page by page: thousands of objects come in answers of bounded size, all as of one moment."""
        found: list[Object] = []
        query = {"limit": str(_PAGE), "labelSelector": labels}
        while True:
            page = await self._call("GET", _path(kind, namespace), query={k: v for k, v in query.items() if v})
            found += page.get("items") or []
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return found, page["metadata"]["resourceVersion"]

    async def watch(self, kind: Kind, namespace: str | None, since: str, *, labels: str = "") -> AsyncIterator[Change]:
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(_WATCH_S),
            "labelSelector": labels,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CALL_S, sock_read=_SILENT_S)
        chosen = {name: value for name, value in query.items() if value}
        try:
            async with self._session.get(
                self._url(_path(kind, namespace)), params=chosen, headers=self._headers(), timeout=timeout
            ) as got:
                if got.status != 200:
                    raise _error(got.status, await got.read())
                rest = b""
                async for part in got.content.iter_any():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in filter(None, lines):
                        yield _change(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(f"the watch of {kind.plural} broke off: {error or type(error).__name__}") from None

    async def create(self, kind: Kind, document: Object) -> Object:
        path = _path(kind, document["metadata"]["namespace"])
        return await self._call("POST", path, document, query={"fieldManager": MANAGER})

    async def apply(self, kind: Kind, document: Object) -> Object:
        return await self._apply(kind, document, "")

    async def apply_status(self, kind: Kind, document: Object) -> Object:
        return await self._apply(kind, document, "status")

    async def _apply(self, kind: Kind, document: Object, part: str) -> Object:
        metadata = document["metadata"]
        path = _path(kind, metadata["namespace"], metadata["name"], part)
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._call("PATCH", path, document, query=query, content="application/apply-patch+yaml")

    async def patch(self, kind: Kind, namespace: str, name: str, document: Object) -> Object:
        path, query = _path(kind, namespace, name), {"fieldManager": MANAGER}
        return await self._call("PATCH", path, document, query=query, content="application/merge-patch+json")

    async def replace(self, kind: Kind, document: Object) -> Object:
        metadata = document["metadata"]
        return await self._call("PUT", _path(kind, metadata["namespace"], metadata["name"]), document)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        given = {"uid": uid, "resourceVersion": resource_version}
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        options["preconditions"] = {key: value for key, value in given.items() if value}
        try:
            await self._call("DELETE", _path(kind, namespace, name), options)
        except Missing:
            return

    async def evict(self, namespace: str, name: str, uid: str) -> None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self._call("POST", _path(PODS, namespace, name, "eviction"), body)
        except Missing:
            return
        except ClusterError as error:
            if error.status == 429:
                raise Changed(f"a disruption budget holds {name}: {error}", 429) from None
            raise

    async def _call(
        self,
        verb: str,
        path: str,
        body: Object | None = None,
        *,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        timeout = aiohttp.ClientTimeout(total=_CALL_S)
        headers = self._headers() | {"Content-Type": content}
        data = orjson.dumps(body) if body is not None else None
        try:
            async with self._session.request(
                verb, self._url(path), params=query, data=data, headers=headers, timeout=timeout
            ) as got:
                answer = await got.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(f"no answer to {verb} {path}: {error or type(error).__name__}") from None
        if got.status >= 300:
            raise _error(got.status, answer)
        return _document(answer)

    def _url(self, path: str) -> str:
        return self._credentials.server + path

    def _headers(self) -> dict[str, str]:
        try:
            token = self._credentials.token()
        except InvalidInput as error:
            raise ClusterError(str(error)) from None
        headers = {"Accept": "application/json", "User-Agent": MANAGER}
        return headers | ({"Authorization": f"Bearer {token}"} if token else {})


def _path(kind: Kind, namespace: str | None, name: str = "", part: str = "") -> str:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = f"/namespaces/{namespace}" if namespace is not None else ""
    return "/".join(piece for piece in (f"{base}{inside}/{kind.plural}", name, part) if piece)


def _document(answer: bytes) -> Object:
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        raise ClusterError("the API server's answer is not JSON") from None
    if not isinstance(found, dict):
        raise ClusterError("the API server's answer is not an object")
    return found


def _error(status: int, answer: bytes) -> ClusterError:
    try:
        message = str(orjson.loads(answer).get("message"))
    except (orjson.JSONDecodeError, AttributeError):
        message = answer[:200].decode("utf-8", "replace")
    return _ERRORS.get(status, ClusterError)(message, status)


def _change(line: bytes) -> Change:
    document = _document(line)
    found: Any = document.get("object")
    if document.get("type") == "ERROR" or not isinstance(found, dict):
        status = found.get("code", 0) if isinstance(found, dict) else 0
        raise _ERRORS.get(status, ClusterError)(str(found.get("message") if isinstance(found, dict) else found), status)
    return Change(document["type"], found)
