"""Jobs of one namespace over the API server, as the pod's service account: make, read, list. The trigger's only use of it.

The token and the authority are read anew for every call, because the kubelet replaces both. Raises UpstreamUnavailable where no
answer comes; an answer is the status that it has.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock_transformer.feedback.trigger.job import LABEL, label_of, progress_of
from penstock_transformer.feedback.trigger.machine import Progress
from penstock_transformer.kube_api import ACCOUNT
from penstock_transformer.predictions.webhook_machine import Answer, Failure, Result

_TIMEOUT_S = 15.0
_CONFLICT, _NOT_FOUND = 409, 404
_MESSAGE = 300


class KubeJobs:
    """The Jobs of `namespace`, None: the pod's own. `env` and `account` say where the API server is and who asks."""

    def __init__(self, namespace: str | None, env: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> None:
        host = env.get("KUBERNETES_SERVICE_HOST")
        if not host:
            raise InvalidInput("expected a pod of a cluster: a job can be started there alone", field="action.job")
        shown = f"[{host}]" if ":" in host else host
        self._server = f"https://{shown}:{env.get('KUBERNETES_SERVICE_PORT', '443')}"
        self._account = account
        self.namespace = namespace or self._read("namespace")

    async def make(self, job: dict[str, Any]) -> Result:
        """Start a Job; one of its name that is there already is this one."""
        try:
            status, answer = await self._call("POST", self._path(), job)
        except UpstreamUnavailable as error:
            return Failure(error.message)
        if status == _CONFLICT:
            return Answer(200)
        if 200 <= status < 300:
            return Answer(status)
        return Failure(f"status {status}: {answer.get('message', '')}"[:_MESSAGE])

    async def progress(self, name: str) -> Progress | None:
        """How far a Job is; None where nobody can tell at present."""
        try:
            status, answer = await self._call("GET", self._path(name))
        except UpstreamUnavailable:
            return None
        if status == _NOT_FOUND:
            return "removed"
        return progress_of(answer) if status == 200 else None

    async def busy(self, model: str) -> bool:
        """Whether any Job retrains this model. Raises UpstreamUnavailable where that cannot be known."""
        status, answer = await self._call("GET", f"{self._path()}?labelSelector={LABEL}%3D{label_of(model)}")
        if status != 200:
            raise UpstreamUnavailable(f"the API server answered {status}: {answer.get('message', '')}"[:_MESSAGE])
        return any(progress_of(job) == "running" for job in answer.get("items") or [])

    def _path(self, name: str = "") -> str:
        base = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        return f"{base}/{name}" if name else base

    async def _call(self, method: str, path: str, document: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        import httpx

        headers = {"authorization": f"Bearer {self._read('token')}", "accept": "application/json"}
        try:
            tls = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
            async with httpx.AsyncClient(verify=tls, timeout=_TIMEOUT_S, trust_env=False) as client:
                answer = await client.request(method, f"{self._server}{path}", headers=headers, json=document)
            found = answer.json()
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise UpstreamUnavailable(f"the API server does not answer: {type(error).__name__}") from None
        return answer.status_code, found if isinstance(found, dict) else {}

    def _read(self, name: str) -> str:
        try:
            return (self._account / name).read_text().strip()
        except OSError as error:
            raise UpstreamUnavailable(f"{self._account / name}: {error.strerror}") from None
