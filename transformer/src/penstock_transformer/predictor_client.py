"""A predictor over the network, as a DataPlane: Open Inference Protocol v2 over kept-alive HTTP/1.1 with binary tensors.

    InferRequest -> encode_request -> Pool -> predictor -> decode_response -> InferResponse

Every call names the digest it wants; an answer that does not name the same counts as refused (`OtherBundle`). The one table
from the predictor's HTTP status back to our error tree is here.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from penstock.dataplane import Context, InferRequest, InferResponse, ModelMetadata, Reply, TensorMetadata
from penstock.errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    PenstockError,
    TooLarge,
    UpstreamUnavailable,
    WrongBundle,
)
from penstock.protocol.v2 import decode_response, encode_request
from penstock.serving.security.client_tls import ClientTls, Credential
from penstock_transformer.call import Call, of_both_tries
from penstock_transformer.cluster_endpoints import endpoint_source
from penstock_transformer.connection import Answer
from penstock_transformer.endpoints import Endpoint, EndpointSource
from penstock_transformer.kube_api import KubeApi
from penstock_transformer.pool import Owner, Pool
from penstock_transformer.spread import Spread

_CLOSED_BY_CALLER = 499


class OtherBundle(WrongBundle):
    """The predictor holds another bundle; `found` is the digest it named, "" if it named none."""

    def __init__(self, message: str, found: str) -> None:
        super().__init__(message)
        self.found = found


class PredictorClient:
    """The DataPlane at `address` (`http[s]://HOST[:PORT]`, or `HOST[:PORT]`, which is http, or https where `over_tls` says so).

    `timeout_s` bounds a call that has no deadline. `tls` is used for https, the system's authorities without it; `credential`
    goes with every call. `source` tells where the pods are, by default what the address says: a Service of a cluster is looked
    up with its `api`.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 2.0,
        max_connections: int = 32,
        max_age_s: float = 30.0,
        over_tls: bool = False,
        tls: ClientTls | None = None,
        credential: Credential | None = None,
        source: EndpointSource | None = None,
        api: KubeApi | None = None,
    ) -> None:
        parts = urlsplit(address if "://" in address else f"{'https' if over_tls else 'http'}://{address}")
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc:
            shown = f"{parts.scheme}://…@{host}" if "@" in parts.netloc else repr(address)
            raise InvalidInput(f"expected HOST[:PORT] or http[s]://HOST[:PORT], got {shown}", field="predictor")
        self.address = f"{parts.scheme}://{host}:{port}"
        self._credential = credential
        self._timeout_s = timeout_s
        self._host = (f"[{host}]" if ":" in host else host) + f":{port}"
        self._base = parts.path.rstrip("/")
        over = (tls or ClientTls()) if parts.scheme == "https" else None

        def make(endpoint: Endpoint, owner: Owner) -> Pool:
            return Pool(
                endpoint,
                owner,
                name=host,
                max_connections=max_connections,
                connect_timeout_s=connect_timeout_s,
                max_age_s=float("inf") if endpoint.lasting else max_age_s,
                tls=over,
            )

        self._spread = Spread(source or endpoint_source(host, port, api), make)
        self._best_rows: dict[str, int] = {}
        self._heads: dict[tuple[str, str | None, str | None], bytes] = {}
        self._reached: set[str] = set()

    def submit(self, request: InferRequest, reply: Reply) -> None:
        """Call the predictor; the reply gets its answer, or OtherBundle, UpstreamUnavailable, DeadlineExceeded … (see the
        table)."""
        try:
            body, header_length = encode_request(request)
            parts = [self._head(request, len(body), header_length), body]
        except PenstockError as error:
            reply.error(error)
            return
        context = request.context
        expect = context.expect_bundle or ""

        def done(outcome: Answer | PenstockError) -> None:
            if reply.disconnected:
                reply.error(Cancelled("the caller is gone"))
                return
            try:
                reply.put(_response(outcome, expect))
            except PenstockError as error:
                reply.error(of_both_tries(error) if call.ended_at is not None else error)

        deadline = context.deadline or time.monotonic() + self._timeout_s
        call = Call(parts, deadline, done, expect, rows=rows_of(request), caller=reply)
        self._spread.send(call)

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """The model's signature and the bundle it names. Raises NotFound, UpstreamUnavailable, DeadlineExceeded."""
        at = f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
        answer = await self._get(at)
        metadata = _metadata(answer)
        self._reached.add(model)
        self._best_rows[model] = best_rows(metadata.properties)
        return metadata

    def call_rows(self, model: str) -> int:
        """The best number of rows for one of several calls side by side, 0 where one call does as well.

        That is the size at which the predictor measured the most rows a second, if there are pods to spread over.
        """
        return self._best_rows.get(model, 0) if self._spread.pods > 1 else 0

    def pods(self) -> tuple[int, int]:
        """How many addresses the predictor has, and how many of them are not asked at present."""
        return self._spread.pods, self._spread.aside

    def models(self) -> Sequence[str]:
        return tuple(self._reached)

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether the predictor has answered for this model (or any) at least once; it alone knows its versions."""
        del version
        return bool(self._reached) if model is None else model in self._reached

    async def bundle_file(self, model: str, file: str) -> bytes:
        """One small file of the bundle that the predictor holds. Raises NotFound, UpstreamUnavailable, DeadlineExceeded."""
        answer = await self._get(f"/v2/models/{quote(model, safe='')}/bundle/{quote(file, safe='/')}")
        return answer.body

    async def answers(self, model: str, timeout_s: float) -> bool:
        """Whether a predictor says, now and over the network, that it is ready for this model."""
        try:
            await self._get(f"/v2/models/{quote(model, safe='')}/ready", timeout_s)
        except PenstockError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections; calls in progress end with UpstreamUnavailable."""
        await self._spread.close()

    async def _get(self, path: str, timeout_s: float | None = None) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | PenstockError) -> None:
            if future.done():
                return
            if isinstance(outcome, Answer) and outcome.status == 200:
                future.set_result(outcome)
            else:
                future.set_exception(outcome if isinstance(outcome, PenstockError) else error_of(outcome))

        head = f"GET {self._base}{path} HTTP/1.1\r\nHost: {self._host}\r\n".encode("ascii")
        credential = b"" if self._credential is None else self._credential.line()
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        self._spread.send(Call([b"%b%b\r\n" % (head, credential)], deadline, done))
        return await future

    def _head(self, request: InferRequest, body_bytes: int, header_length: int) -> bytes:
        context = request.context
        key = (request.model, request.version, context.expect_bundle)
        fixed = self._heads.get(key)
        if fixed is None:
            if len(self._heads) > 64:
                self._heads.clear()
            fixed = self._heads[key] = self._fixed_head(*key)
        return b"%bContent-Length: %d\r\nInference-Header-Content-Length: %d\r\n%b%b\r\n" % (
            fixed,
            body_bytes,
            header_length,
            b"" if self._credential is None else self._credential.line(),
            _passed_on(context),
        )

    def _fixed_head(self, model: str, version: str | None, expect: str | None) -> bytes:
        at = f"{self._base}/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
        expected = f"Penstock-Expect-Bundle: {expect}\r\n" if expect else ""
        head = f"POST {at}/infer HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/octet-stream\r\n{expected}"
        return head.encode("ascii", "replace")


def rows_of(request: InferRequest) -> int:
    """The rows of a request, at least one."""
    shape = request.inputs[0].shape if request.inputs else ()
    return max(1, shape[0]) if shape else 1


def best_rows(properties: dict[str, Any]) -> int:
    """The smallest size that does nine tenths of the best rows a second, by a predictor's profile; 0 if it tells none."""
    try:
        rates = {int(cost["rows"]): int(cost["rows"]) / float(cost["ms"]) for cost in properties["profile"] if cost["ms"] > 0}
    except (KeyError, TypeError, ValueError):
        return 0
    best = max(rates.values(), default=0.0)
    return min((rows for rows, rate in rates.items() if rate >= 0.9 * best), default=0)


def _passed_on(context: Context) -> bytes:
    lines = []
    if context.request_id and context.request_id.isprintable():
        lines.append(f"X-Request-Id: {context.request_id}\r\n")
    if context.traceparent and context.traceparent.isprintable():
        lines.append(f"traceparent: {context.traceparent}\r\n")
    if context.deadline is not None:
        lines.append(f"Penstock-Timeout-Ms: {max(1, int((context.deadline - time.monotonic()) * 1e3))}\r\n")
    if context.priority:
        lines.append(f"Penstock-Priority: {context.priority}\r\n")
    return "".join(lines).encode("latin-1", "replace")


def _response(outcome: Answer | PenstockError, expect: str) -> InferResponse:
    if isinstance(outcome, PenstockError):
        raise outcome
    if outcome.status != 200:
        raise error_of(outcome)
    bundle = outcome.headers.get(b"penstock-bundle", b"").decode("latin-1")
    found = bundle.rpartition("@")[2]
    if expect and found != expect:
        raise OtherBundle(f"the predictor answered as {bundle or 'no bundle'}, {expect} was asked", found)
    length = outcome.headers.get(b"inference-header-content-length")
    try:
        header_length = int(length) if length is not None else None
    except ValueError:
        raise UpstreamUnavailable("the predictor's Inference-Header-Content-Length is not a number") from None
    return decode_response(outcome.body, header_length, bundle=bundle)


def error_of(answer: Answer) -> PenstockError:
    """What an answer that is not 200 means."""
    message = _message(answer)
    match answer.status:
        case 400 | 415 | 422:
            return InvalidInput(message)
        case 404:
            return NotFound(message)
        case 412:
            return OtherBundle(message, answer.headers.get(b"penstock-bundle", b"").rpartition(b"@")[2].decode("latin-1"))
        case 413:
            return TooLarge(message)
        case 429:
            return Overloaded(message, retry_after_s=_retry_after_s(answer))
        case 503:
            return NotReady(message)
        case 504:
            return DeadlineExceeded(message)
        case 500:
            return Internal(message)
        case _:
            return (
                Cancelled(message)
                if answer.status == _CLOSED_BY_CALLER
                else UpstreamUnavailable(f"the predictor answered {answer.status}: {message}")
            )


def _message(answer: Answer) -> str:
    try:
        document = orjson.loads(answer.body)
        return str(document.get("error") or document.get("detail"))[:2000]
    except (orjson.JSONDecodeError, AttributeError):
        return f"status {answer.status} from the predictor"


def _retry_after_s(answer: Answer) -> float:
    try:
        if b"retry-after-ms" in answer.headers:
            return float(answer.headers[b"retry-after-ms"]) / 1e3
        return float(answer.headers.get(b"retry-after", b"1"))
    except ValueError:
        return 1.0


def _metadata(answer: Answer) -> ModelMetadata:
    try:
        document = orjson.loads(answer.body)
        inputs, outputs = (
            tuple(TensorMetadata(t["name"], t["datatype"], tuple(t["shape"])) for t in document.get(side, ()))
            for side in ("inputs", "outputs")
        )
        return ModelMetadata(
            name=document["name"],
            versions=tuple(document.get("versions") or ()),
            platform=document.get("platform", ""),
            inputs=inputs,
            outputs=outputs,
            bundle=answer.headers.get(b"penstock-bundle", b"").decode("latin-1"),
            properties=document.get("properties") or {},
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamUnavailable(f"the predictor's metadata is not that of the protocol: {error!r}") from error
