"""What one predict request may ask of the ways in, beyond the limits that every body has."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WayInLimits:
    """Upper bounds of rows, forms, and parsing off the event loop. Pixels are limited where they are decoded."""

    rows: int = 100_000
    """Rows of one request, whichever form they come in."""
    image_bytes: int = 16 * 1024 * 1024
    """Bytes of one encoded image; a photo of 50 megapixels stays under it."""
    parts: int = 1024
    """Fields and files of one form."""
    inline_bytes: int = 16 * 1024
    """Bodies up to this size are parsed on the event loop, where that is cheaper than handing them to a thread."""
    parsing: int = 32
    """Larger bodies that are being parsed, or wait for it, at once."""
    parsing_bytes: int = 256 * 1024 * 1024
    """Bytes of all of those together."""
