"""Where the next page of a listing begins: the sequence of the last prediction shown, opaque to callers.

Predictions are listed newest first and a sequence is never given twice, so a page neither repeats nor leaves out what was there
when the first was asked for, however many are added or removed in between.
"""

import base64
import binascii

from penstock.errors import InvalidInput

_MARK = b"p1:"


def cursor_after(sequence: int) -> str:
    """The cursor of a page that ended with this prediction."""
    return base64.urlsafe_b64encode(_MARK + b"%d" % sequence).rstrip(b"=").decode()


def sequence_before(cursor: str | None) -> int | None:
    """The sequence that all of the page are below, None for the first page. Raises InvalidInput for what is no cursor of ours."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        text = b""
    digits = text.removeprefix(_MARK)
    if digits == text or not digits.isdigit() or len(digits) > 19:
        raise InvalidInput(f"expected a cursor from an earlier page, got {cursor!r:.80}", field="cursor")
    return int(digits)
