"""image: pixels to a tensor: cropped at the centre, scaled, normalised by channel, laid out as the model wants.

Decoding and resizing (to `resize`, height and width) happen before the graph, the same way in every language (docs: bilinear, no
alpha, EXIF orientation applied); the graph's input is uint8 `[rows, height, width, channels]`. In the graph: centre crop to
`crop`, `x * scale` (default 1/255), `(x - mean) / std` by channel, and `layout` nchw or nhwc. float32 arithmetic; bound: 2 units
in the last place of float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType

MAX_SIDE = 8192


@dataclass(frozen=True, slots=True)
class Image(Encoding):
    """`image: {resize: [256, 256], crop: [224, 224], mode: rgb, mean: [0.485, …], std: [0.229, …], layout: nchw}`"""

    resize: tuple[int, int]
    crop: tuple[int, int]
    mode: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str

    kind = "image"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        if given.kind != "uint8":
            raise InvalidInput(f"image needs a feature of type image, this one is {given} here", field=p.path)
        resize = _size(p, "resize", None)
        crop = _size(p, "crop", resize)
        if crop[0] > resize[0] or crop[1] > resize[1]:
            raise InvalidInput(f"expected at most resize ({resize[0]} by {resize[1]})", field=p.field("crop"))
        mode = p.choice("mode", ("rgb", "grey"), "rgb")
        channels = 3 if mode == "rgb" else 1
        mean, std = p.numbers("mean", [0.0] * channels), p.numbers("std", [1.0] * channels)
        for name, numbers in (("mean", mean), ("std", std)):
            if len(numbers) != channels:
                raise InvalidInput(f"expected {channels} numbers, one a channel, got {len(numbers)}", field=p.field(name))
        if min(std) <= 0:
            raise InvalidInput("expected numbers above 0", field=p.field("std"))
        scale = p.number("scale", 1 / 255, above=0.0)
        return cls(resize, crop, mode, scale, mean, std, p.choice("layout", ("nchw", "nhwc"), "nchw"))

    @property
    def channels(self) -> int:
        """3 for rgb, 1 for grey."""
        return len(self.mean)

    @property
    def pixels(self) -> tuple[int, int, int]:
        """The shape of one row of the graph's input: height, width, channels after resizing."""
        return (*self.resize, self.channels)

    def result(self, given: ValueType) -> ValueType:
        shape = (self.channels, *self.crop) if self.layout == "nchw" else (*self.crop, self.channels)
        return ValueType("float32", shape)

    def _corner(self) -> tuple[int, int]:
        return (self.resize[0] - self.crop[0]) // 2, (self.resize[1] - self.crop[1]) // 2

    def _factors(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.float32]], ...]:
        return np.float32(self.scale).reshape(1), np.array(self.mean, np.float32), np.array(self.std, np.float32)

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        top, left = self._corner()
        scale, mean, std = self._factors()
        x = value.array[:, top : top + self.crop[0], left : left + self.crop[1], :].astype(np.float32)
        y = (x * scale - mean) / std
        return Value(y.transpose(0, 3, 1, 2) if self.layout == "nchw" else y)

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        x = value.name
        top, left = self._corner()
        if self.crop != self.resize:
            edges = (np.array([top, left]), np.array([top + self.crop[0], left + self.crop[1]]), np.array([1, 2]))
            x = graph.node("Slice", x, *(graph.constant(edge) for edge in edges))
        scale, mean, std = (graph.constant(factor) for factor in self._factors())
        x = graph.node("Mul", graph.cast(x, "float32"), scale)
        x = graph.node("Div", graph.node("Sub", x, mean), std)
        if self.layout == "nchw":
            x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
        return GraphValue(x, self.result(value.type))


def _size(p: Parameters, name: str, default: tuple[int, int] | None) -> tuple[int, int]:
    size = p.items(name) if default is None else p.items(name, list(default))
    if len(size) != 2 or any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in size):
        raise InvalidInput(f"expected [height, width], each from 1 to {MAX_SIDE}", field=p.field(name))
    return size[0], size[1]
