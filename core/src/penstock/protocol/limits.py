"""How much of anything one request may ask for: checked while decoding, before memory is spent on it."""

import math
from dataclasses import dataclass

from penstock.errors import InvalidInput, TooLarge
from penstock.protocol.wording import describe


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of one request; every field may be raised or lowered, none can be switched off.

    The defaults let through a batch of 100 colour images of 224 by 224 pixels as FP32 and stop what no model was meant for.
    """

    body_bytes: int = 64 * 1024 * 1024
    """Bytes of a body, JSON and tensors together."""
    elements: int = 16 * 1024 * 1024
    """Elements of one tensor: as many FP32 as fit into `body_bytes`."""
    rank: int = 16
    """Axes of one tensor; numpy stops at 32 or 64, ONNX models seldom go past 6."""
    nesting: int = 24
    """Levels of JSON arrays and objects inside the instances of a v1 request; in v2 a tensor's shape says how deep it goes."""
    rows: int = 1024 * 1024
    """Size of the first axis of a tensor, and instances of a v1 request."""
    tensors: int = 1024
    """Inputs of one request, and outputs asked for. A transformer's inputs are features, so this is not small."""
    name_bytes: int = 1024
    """Length of a tensor's name and of a request's id."""

    def check_body(self, length: int) -> None:
        """Raises TooLarge if a body of `length` bytes is over the limit."""
        if length > self.body_bytes:
            raise TooLarge(f"expected a body of at most {self.body_bytes} bytes, got {length}")

    def check_shape(self, shape: tuple[int, ...], field: str) -> int:
        """The number of elements of a tensor of `shape`. Raises InvalidInput or TooLarge, naming `field`.

        Axes of size 0 do not excuse the others: numpy refuses `[0, 2**40, 2**40]`, so it is refused here.
        """
        if len(shape) > self.rank:
            raise TooLarge(f"expected at most {self.rank} axes, got {len(shape)}", field=field)
        if shape and min(shape) < 0:
            raise InvalidInput(f"expected sizes of 0 or more, got {describe(list(shape))}", field=field)
        if math.prod(size for size in shape if size) > self.elements:
            raise TooLarge(f"expected at most {self.elements} elements, got {describe(list(shape))}", field=field)
        if shape and shape[0] > self.rows:
            raise TooLarge(f"expected at most {self.rows} rows, got {shape[0]}", field=field)
        return math.prod(shape)
