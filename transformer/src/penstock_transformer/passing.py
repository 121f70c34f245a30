"""Requests that pass through: the model's own tensors, sent on as they are to the bundle that the route picks.

    InferRequest (parameter `encoded: true`, or a bundle without features) -> predictor -> the caller's reply

A refusal (the predictor holds another bundle) is tried once more, where the route then says; so is a request whose bundle has no
pod at all.
"""

import asyncio
from collections.abc import Callable

from penstock.dataplane import Context, InferRequest, InferResponse, Reply
from penstock.errors import NotFound, PenstockError, UpstreamUnavailable, WrongBundle
from penstock_transformer.active import ActiveBundle
from penstock_transformer.call import is_unplaced, of_both_tries
from penstock_transformer.evidence.passed import Passed

Again = Callable[[InferRequest, Reply, ActiveBundle, PenstockError], None]


class PassingReply:
    """Hands the predictor's answer to the caller; `again` takes a request whose first try was refused, or found no pod. `ended`:
    this is a second try, and the first ended with its connection. `passed`: where it is counted, None for nowhere."""

    __slots__ = ("_again", "_bundle", "_caller", "_ended", "_passed", "_request")

    def __init__(
        self,
        request: InferRequest,
        caller: Reply,
        bundle: ActiveBundle,
        again: Again | None,
        *,
        ended: bool = False,
        passed: Passed | None = None,
    ) -> None:
        self._request = request
        self._caller = caller
        self._bundle = bundle
        self._again = again
        self._ended = ended
        self._passed = passed

    @property
    def disconnected(self) -> bool:
        return self._caller.disconnected

    def put(self, response: InferResponse) -> None:
        bundle = self._bundle
        bundle.release()
        if bundle.expect and response.bundle.rpartition("@")[2] != bundle.expect:
            self._refused(WrongBundle(f"the predictor answered as {response.bundle or 'no bundle'}, not {bundle.label}"))
            return
        self._caller.put(
            InferResponse(
                self._request.model,
                response.outputs,
                bundle=bundle.label,
                version=bundle.version or response.version,
                parameters=response.parameters,
            )
        )
        if self._passed is not None:
            self._passed.answered(response)

    def error(self, error: PenstockError) -> None:
        self._bundle.release()
        if isinstance(error, WrongBundle):
            self._refused(error)
        elif isinstance(error, NotFound):
            self._fail(UpstreamUnavailable(f"the predictor: {error.message}"))
        elif self._again is not None and is_unplaced(error):
            self._again(self._request, self._caller, self._bundle, error)
        else:
            self._fail(of_both_tries(error) if self._ended else error)

    def _refused(self, error: WrongBundle) -> None:
        if self._again is not None:
            self._again(self._request, self._caller, self._bundle, error)
        elif self._request.context.expect_bundle is not None:
            self._fail(error)
        else:
            self._fail(UpstreamUnavailable(error.message))

    def _fail(self, error: PenstockError) -> None:
        self._caller.error(error)
        if self._passed is not None:
            self._passed.failed(error)


def pass_on(
    request: InferRequest,
    reply: Reply,
    bundle: ActiveBundle,
    again: Again | None,
    *,
    ended: bool = False,
    passed: Passed | None = None,
) -> None:
    """Send a request to a bundle's predictor as it is, naming the digest that alone may answer. `ended` and `passed` as in
    PassingReply."""
    given = request.context
    context = Context(
        given.request_id,
        deadline=given.deadline,
        priority=given.priority,
        traceparent=given.traceparent,
        route_key=given.route_key,
        expect_bundle=bundle.expect,
    )
    parameters = {k: v for k, v in (request.parameters or {}).items() if k != "encoded"} or None
    onward = InferRequest(
        bundle.predictor_model, request.inputs, context, id=request.id, outputs=request.outputs, parameters=parameters
    )
    bundle.use()
    bundle.predictor.submit(onward, PassingReply(request, reply, bundle, again, ended=ended, passed=passed))


def owned(tasks: "set[asyncio.Task[None]]", task: "asyncio.Task[None]") -> None:
    """Keep a task in its owner's set until it is done."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)
