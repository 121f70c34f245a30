r"""The claim check: a large body goes to the object store first, and the row and the record carry its reference.

    body --pack--> Payload(body) or put, Payload(reference) --submit--> row --...--> worker --unpack--> body
                                                  \--not written: the object goes again, or the sweep finds it

Invariant: an object is written before whatever refers to it, and deleted only when it is certain that nothing does.
"""

import logging
import time
from collections.abc import Sequence

import msgspec

from penstock.errors import PenstockError, TooLarge, UpstreamUnavailable
from penstock_transformer.broker.records import Headers
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.objects import Objects
from penstock_transformer.predictions.port import Predictions
from penstock_transformer.predictions.resource import NewPrediction, Payload, Prediction

logger = logging.getLogger(__name__)

# The sweep takes an input without a row for an orphan at an hour (sweep.ORPHAN_S): a row is never begun near that.
_FRESH_S = 1800.0


class ClaimCheck:
    """Decides where a body goes. `objects` None: nothing but what fits is taken."""

    def __init__(self, objects: Objects | None, inline_bytes: int) -> None:
        self._objects = objects
        self._inline_bytes = inline_bytes

    async def pack(self, prediction_id: str, kind: Kind, body: bytes, headers: Headers) -> Payload:
        """A body as a payload, put away if it is large. Raises TooLarge, UpstreamUnavailable."""
        if len(body) <= self._inline_bytes:
            return Payload(body, headers, len(body))
        if self._objects is None:
            raise TooLarge(
                f"expected at most {self._inline_bytes} bytes (larger ones need --objects), got {len(body)}", field="body"
            )
        return Payload(None, headers, len(body), await self._objects.put(prediction_id, kind, body))

    async def unpack(self, payload: Payload) -> bytes:
        """A payload's body. Raises as `Objects.get`, UpstreamUnavailable too where there is no object store."""
        if payload.reference is None:
            return payload.body or b""
        if self._objects is None:
            raise UpstreamUnavailable("the body is in an object store, and this server has none (--objects)")
        return await self._objects.get(payload.reference)

    async def submit(self, predictions: Predictions, new: NewPrediction) -> tuple[Prediction, bool]:
        """`Predictions.submit` of a prediction whose payload still holds its body. Raises as that, and as `pack`.

        A refusal, or an earlier prediction under the same key, leaves the object without a row: it is deleted. An
        UpstreamUnavailable does not: the row may have been written all the same.
        """
        body, began = new.payload.body or b"", _awake_s()
        payload = await self.pack(new.id, Kind.INPUT, body, new.payload.headers)
        if _awake_s() - began > _FRESH_S:
            # The machine slept, or the process was stopped, in between.
            payload = await self.pack(new.id, Kind.INPUT, body, new.payload.headers)
        references = [] if payload.reference is None else [payload.reference]
        try:
            prediction, is_new = await predictions.submit(msgspec.structs.replace(new, payload=payload))
        except UpstreamUnavailable:
            raise
        except PenstockError:
            await self.discard(references)
            raise
        if not is_new:
            await self.discard(references)
        return prediction, is_new

    async def discard(self, references: Sequence[str]) -> None:
        """Delete what nothing refers to any more. What the store does not delete now, the sweep finds."""
        if self._objects is None or not references:
            return
        try:
            await self._objects.delete(references)
        except PenstockError as error:
            logger.warning("objects not deleted", extra={"count": len(references), "reason": error.message})


def _awake_s() -> float:
    """Seconds of a clock that also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
