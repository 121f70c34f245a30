"""Many rows as many requests of a bounded size, each of which may be repeated; predictions come in the rows' order.

A body that is sent while its answer is read back needs both sides to read and write at once, which neither httpx nor a browser
does over HTTP/1.1; so rows go in chunks, each a request of its own. Memory holds the chunks in flight, whatever there are in all.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from penstock.errors import InvalidInput

ROWS_PER_REQUEST = 500
REQUESTS_AT_ONCE = 4


def chunks(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    """The rows in lists of at most `size`. Raises InvalidInput for a size below 1."""
    if size < 1:
        raise InvalidInput(f"expected 1 or more, got {size}", field="rows_per_request")
    remaining = iter(rows)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk
