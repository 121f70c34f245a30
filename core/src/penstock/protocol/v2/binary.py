"""A tensor's bytes behind the JSON header: the binary extension's side of one tensor.

Numbers stay bytes; only what could be malformed (BOOL bytes, BYTES lengths) is looked at, so that a fault is the sender's and
found here, never in the middle of a batch.
"""

from penstock.errors import InvalidInput
from penstock.protocol.v2.plans import Plan
from penstock.tensors import DATATYPES, Tensor, unpack_bytes

COPY_BELOW = 64 * 1024
"""Bytes up to which a tensor is copied out of the body: cheaper than a view, aligned, and it lets the body go."""


def tensor_of_bytes(plan: Plan, body: bytes, start: int, stop: int, field: str) -> Tensor:
    """The tensor of a plan out of `body[start:stop]`, which the caller knows to be there. Raises InvalidInput naming `field`."""
    length = stop - start
    if plan.nbytes >= 0 and length != plan.nbytes:
        raise InvalidInput(
            f"expected {plan.nbytes} bytes for {plan.datatype} {list(plan.shape)}, got binary_data_size {length}", field=field
        )
    if length <= COPY_BELOW or start % DATATYPES[plan.datatype].dtype.itemsize:
        raw: bytes | memoryview = body[start:stop]
    else:
        raw = memoryview(body)[start:stop]
    if plan.nbytes >= 0:
        if plan.datatype == "BOOL" and bytes(raw).strip(b"\0\1"):
            raise InvalidInput("expected bytes of 0 and 1 only", field=field)
        return Tensor.from_raw(plan.name, plan.datatype, plan.shape, raw)
    return Tensor.from_flat(plan.name, "BYTES", plan.shape, list(unpack_bytes(raw, plan.size, field)))
