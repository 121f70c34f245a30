"""Image bytes to pixels: the one documented step before the graph that ONNX cannot do.

Decode with Pillow, apply the EXIF orientation, drop transparency on white, make it rgb or grey, resize bilinearly to the
encoding's `resize`. Limits come first: what a file claims to be is read from its header, before any pixel is decoded.
"""

import io
from typing import Any

import numpy as np

from penstock.errors import InvalidInput, TooLarge
from penstock.features.encodings.image import Image
from penstock.tensors import Array

MAX_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def decode_images(values: Array, encoding: Image, name: str, *, max_pixels: int = MAX_PIXELS) -> Array:
    """uint8 `[rows, height, width, channels]` of an object array of image bytes. Raises InvalidInput or TooLarge for
    `rows[i].name`.
    """
    pixels = np.empty((len(values), *encoding.pixels), np.uint8)
    for row, data in enumerate(values.tolist()):
        pixels[row] = decode_image(data, encoding, f"rows[{row}].{name}", max_pixels=max_pixels)
    return pixels


def decode_image(data: Any, encoding: Image, field: str, *, max_pixels: int = MAX_PIXELS) -> Array:
    """One image as uint8 `[height, width, channels]`, or pixels that are already in that form, as they are."""
    if isinstance(data, np.ndarray):
        if data.shape != encoding.pixels or data.dtype != np.uint8:
            raise InvalidInput(f"expected uint8 pixels {list(encoding.pixels)}, got {data.dtype} {list(data.shape)}", field=field)
        return data
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with Pillow.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise TooLarge(f"{image.width} by {image.height} pixels, the limit is {max_pixels} in all", field=field)
            upright = ImageOps.exif_transpose(image)
            flat = _flatten(upright, Pillow).convert("RGB" if encoding.mode == "rgb" else "L")
            height, width = encoding.resize
            resized = flat if flat.size == (width, height) else flat.resize((width, height), Pillow.Resampling.BILINEAR)
            return np.asarray(resized, np.uint8).reshape(encoding.pixels)
    except TooLarge:
        raise
    except Pillow.DecompressionBombError:
        raise TooLarge(f"more pixels than the limit of {max_pixels}", field=field) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
        raise InvalidInput(f"not an image that can be read ({', '.join(FORMATS)})", field=field) from error


def _flatten(image: Any, pillow: Any) -> Any:
    """The image on white, if it has transparency."""
    if not image.has_transparency_data:
        return image
    solid = image.convert("RGBA")
    ground = pillow.new("RGBA", solid.size, "white")
    ground.alpha_composite(solid)
    return ground
