"""Asks pods: which route a transformer applies and what requests came to under it, which bundle a predictor holds.

    GET http://POD:9090/route             -> Answer
    GET http://POD:9090/evidence          -> Evidence, without features: they are most of it, and are not judged; Answer
    GET http://POD:8080/v2/models/MODEL   -> the digest in the header Penstock-Bundle

A pod that does not answer in time, or with something else, has not answered. Addresses come from the API server, never from a
pod's answer.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from penstock.errors import InvalidInput
from penstock.evidence.document import Evidence
from penstock.evidence.rereading import Rereader
from penstock_operator.cluster import Object
from penstock_operator.looking import is_collocated
from penstock_operator.pod_connections import MOST_KEPT, Answered, PodConnections
from penstock_operator.seen import COLLOCATED_PORT, Answer

log = logging.getLogger(__name__)

_ANSWER_BYTES = 256 * 1024
_EVIDENCE_BYTES = 8 * 1024 * 1024


class PodAsker:
    """What of `Asker` pods can tell. `timeout_s` is for each request; at most 64 are made at once."""

    def __init__(self, *, admin_port: int = 9090, timeout_s: float = 1.0) -> None:
        self._admin_port = admin_port
        self._connections = PodConnections(timeout_s=timeout_s)
        # By uid; the one that was not used for longest goes first.
        self._readers: dict[str, Rereader] = {}

    async def close(self) -> None:
        self._connections.close()

    async def routes(self, pods: Sequence[Object]) -> Mapping[str, Answer]:
        answers = await asyncio.gather(*(self._route(pod) for pod in pods))
        return {_uid(pod): answer for pod, answer in zip(pods, answers, strict=True) if answer is not None}

    async def routes_and_evidence(self, pods: Sequence[Object]) -> tuple[Mapping[str, Answer], Sequence[Evidence]]:
        told = await asyncio.gather(*(self._evidence(pod) for pod in pods))
        read = {_uid(pod): read_answer(one.route) for pod, one in zip(pods, told, strict=True) if one is not None}
        answers = {uid: answer for uid, answer in read.items() if answer is not None}
        # A release before this one tells its route by itself only.
        others = [pod for pod in pods if _uid(pod) not in answers]
        return {**answers, **(await self.routes(others) if others else {})}, [one for one in told if one is not None]

    async def bundles(self, pods: Sequence[Object], model: str) -> Mapping[str, str]:
        digests = await asyncio.gather(*(self._bundle(pod, model) for pod in pods))
        return {_uid(pod): digest for pod, digest in zip(pods, digests, strict=True) if digest is not None}

    async def _route(self, pod: Object) -> Answer | None:
        found = await self._get(pod, self._admin_port, "/route")
        try:
            return read_answer(orjson.loads(found.body)) if found is not None else None
        except orjson.JSONDecodeError:
            return None

    async def _evidence(self, pod: Object) -> Evidence | None:
        found = await self._get(pod, self._admin_port, "/evidence?features=false", _EVIDENCE_BYTES)
        try:
            return None if found is None else self._reader(_uid(pod)).read(found.body)
        except InvalidInput as error:
            log.warning("a pod's evidence cannot be read", extra={"pod": pod["metadata"]["name"], "reason": str(error)[:300]})
            return None

    def _reader(self, uid: str) -> Rereader:
        there = self._readers.pop(uid, None)
        reader = self._readers[uid] = there if there is not None else Rereader()
        if len(self._readers) > MOST_KEPT:
            del self._readers[next(iter(self._readers))]
        return reader

    async def _bundle(self, pod: Object, model: str) -> str | None:
        found = await self._get(pod, COLLOCATED_PORT if is_collocated(pod) else 8080, f"/v2/models/{model}")
        return None if found is None else found.headers.get(b"penstock-bundle", b"").decode("latin-1").rpartition("@")[2]

    async def _get(self, pod: Object, port: int, path: str, most: int = _ANSWER_BYTES) -> Answered | None:
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            return None
        found = await self._connections.get((_uid(pod), address, port), path, most)
        return found if found is not None and found.status == 200 else None


def read_answer(found: Any) -> Answer | None:
    """A transformer's answer to GET /route, read as JSON; None for anything else. A release before this one says its revision
    only."""
    try:
        error = found.get("error") or {}
        where = f"{error['field']}: " if error.get("field") else ""
        return Answer(
            revision=int(found["revision"]),
            applied=tuple(str(digest) for digest in found.get("applied") or ()),
            # None: it could not be made out of what was refused.
            rejected=int(error["revision"]) if error.get("revision") is not None else -1,
            error=f"{where}{error.get('message', '')}" if error else "",
            confirmed_s=None if found.get("confirmed_s") is None else float(found["confirmed_s"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])
