"""Image bytes to pixels: the one documented step before the graph that ONNX cannot do.

Decode with Pillow, apply the EXIF orientation, drop transparency on white, make it rgb or grey, resize bilinearly to the
encoding's `resize`. Limits come first: what a file claims to be is read from its header, before any pixel is decoded.
"""

import functools
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.errors import InvalidInput, TooLarge
from penstock.features.encodings.image import Image
from penstock.tensors import Array

MAX_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True, slots=True)
class Decoding:
    """What a caller who waits may ask for: `max_pixels` of all images together; `go_on` raises, between images, once nobody
    wants them any more.
    """

    go_on: Callable[[], None]
    max_pixels: int = MAX_PIXELS


def refuse_pixels(images: Mapping[str, Array], max_pixels: int) -> None:
    """Raises TooLarge for `rows[i].name` of the first image that is one too many, by what the headers claim. Decodes nothing, and
    leaves what is broken to `decode_images`.
    """
    pillow = _pillow()
    total = 0
    for name, values in images.items():
        for row, data in enumerate(values.tolist()):
            try:
                with pillow.open(io.BytesIO(data), formats=FORMATS) as image:
                    total += image.width * image.height
            except Exception:  # Pillow's readers raise nearly anything on a broken file
                continue
            if total > max_pixels:
                raise TooLarge(
                    f"{total} pixels in all images up to this one, the limit is {max_pixels} a request",
                    field=f"rows[{row}].{name}",
                )


def decode_images(
    values: Array, encoding: Image, name: str, *, max_pixels: int = MAX_PIXELS, go_on: Callable[[], None] | None = None
) -> Array:
    """uint8 `[rows, height, width, channels]` of an object array of image bytes. `go_on` is called before each. Raises
    InvalidInput or TooLarge for `rows[i].name`, and what `go_on` raises.
    """
    pixels = np.empty((len(values), *encoding.pixels), np.uint8)
    for row, data in enumerate(values.tolist()):
        if go_on is not None:
            go_on()
        pixels[row] = decode_image(data, encoding, f"rows[{row}].{name}", max_pixels=max_pixels)
    return pixels


def decode_image(data: Any, encoding: Image, field: str, *, max_pixels: int = MAX_PIXELS) -> Array:
    """One image as uint8 `[height, width, channels]`, or pixels that are already in that form, as they are."""
    if isinstance(data, np.ndarray):
        if data.shape != encoding.pixels or data.dtype != np.uint8:
            raise InvalidInput(f"expected uint8 pixels {list(encoding.pixels)}, got {data.dtype} {list(data.shape)}", field=field)
        return data
    from PIL import ImageOps

    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise TooLarge(f"{image.width} by {image.height} pixels, the limit is {max_pixels} in all", field=field)
            upright = ImageOps.exif_transpose(image)
            flat = _flatten(upright, pillow).convert("RGB" if encoding.mode == "rgb" else "L")
            height, width = encoding.resize
            resized = flat if flat.size == (width, height) else flat.resize((width, height), pillow.Resampling.BILINEAR)
            return np.asarray(resized, np.uint8).reshape(encoding.pixels)
    except TooLarge:
        raise
    except pillow.DecompressionBombError:
        raise TooLarge(f"more pixels than the limit of {max_pixels}", field=field) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
        raise InvalidInput(f"not an image that can be read ({', '.join(FORMATS)})", field=field) from error


@functools.cache
def _pillow() -> Any:
    """Pillow's module of images, without its warning of images beyond its own limit: ours is below it and checked before any
    pixel is decoded, and a line on stderr for each such image is the sender's to write.
    """
    from PIL import Image as Pillow

    warnings.filterwarnings("ignore", category=Pillow.DecompressionBombWarning)
    return Pillow


def _flatten(image: Any, pillow: Any) -> Any:
    """The image on white, if it has transparency."""
    if not image.has_transparency_data:
        return image
    solid = image.convert("RGBA")
    ground = pillow.new("RGBA", solid.size, "white")
    ground.alpha_composite(solid)
    return ground
