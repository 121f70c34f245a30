"""From an HTTP request's headers to the prediction that is to be kept: its id, its owner, what travels with the record.

    Exchange (headers, caller), Accepted (payload, rows) --new_prediction--> NewPrediction

Invariant: the digest covers all that decides the prediction, and nothing that a repeated request may rightly change (the time it
has left, its trace), so that the same request under the same `Idempotency-Key` is known again.
"""

import hashlib
from collections.abc import Mapping

from penstock.dataplane import Context
from penstock.errors import InvalidInput
from penstock.serving.security.scopes import ADMIN, Caller
from penstock_transformer.broker.records import Headers
from penstock_transformer.predictions.resource import NewPrediction, new_id
from penstock_transformer.predictions.submission import Accepted

KEY_CHARACTERS = 255


def owner_of(caller: Caller | None) -> str:
    """Whose a new prediction is; empty where nobody is asked who he is."""
    return "" if caller is None or caller.anonymous else caller.name


def seen_by(caller: Caller | None) -> str | None:
    """Whose predictions a caller sees: his own; None, which is everybody's, for whoever has scope `admin`."""
    if caller is None or caller.anonymous:
        return ""
    return None if caller.may(ADMIN, None) else caller.name


def new_prediction(
    model: str,
    accepted: Accepted,
    context: Context,
    headers: Mapping[bytes, bytes],
    *,
    owner: str,
    keep_s: float | None,
) -> NewPrediction:
    """The prediction that a request asks for. Raises InvalidInput naming the header at fault."""
    key, webhook = headers.get(b"idempotency-key"), headers.get(b"penstock-webhook")
    travelling = _travelling(context, headers)
    return NewPrediction(
        id=new_id(),
        model=model,
        owner=owner,
        payload=accepted.payload,
        rows=accepted.rows,
        digest=_digest(model, accepted, context, webhook or b""),
        key=None if context.route_key is None else context.route_key.encode(),
        headers=travelling,
        idempotency_key=None if key is None else _idempotency_key(key),
        webhook=None if webhook is None else webhook.decode("latin-1").strip(),
        keep_s=keep_s,
    )


def _travelling(context: Context, headers: Mapping[bytes, bytes]) -> Headers:
    """What goes with the record, under the names that Kafka headers have; checked already where the context was read."""
    found: list[tuple[str, bytes]] = []
    if context.traceparent is not None:
        found.append(("traceparent", context.traceparent.encode()))
    for name in (b"penstock-timeout-ms", b"penstock-priority", b"penstock-route-key"):
        value = headers.get(name)
        if value is not None:
            found.append((name.decode(), value))
    if context.expect_bundle is not None:
        found.append(("penstock-expect-bundle", context.expect_bundle.encode()))
    return tuple(found)


def _digest(model: str, accepted: Accepted, context: Context, webhook: bytes) -> bytes:
    digest = hashlib.sha256()
    parts = [model.encode(), (context.route_key or "").encode(), (context.expect_bundle or "").encode(), webhook]
    for name, value in accepted.payload.headers:
        parts += [name.encode(), value]
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    digest.update(accepted.payload.body or b"")
    return digest.digest()


def _idempotency_key(value: bytes) -> str:
    text = value.decode("latin-1").strip()
    if not 0 < len(text) <= KEY_CHARACTERS or not text.isprintable():
        raise InvalidInput(f"expected 1 to {KEY_CHARACTERS} printable characters, got {len(text)}", field="Idempotency-Key")
    return text
