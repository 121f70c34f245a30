"""How often one caller may ask: sliding windows in this process's memory, by the library `limits`.

Each worker and each pod counts for itself, so a caller that is spread over n of them gets up to n times the rate.
"""

import time
from typing import TYPE_CHECKING

from penstock.errors import InvalidInput, Overloaded
from penstock.serving.security.extras import needs_extra

if TYPE_CHECKING:
    from limits import RateLimitItem


class Rates:
    """Counts callers against `text`: `100/second;2000/minute`, each of which holds. Raises InvalidInput for another text."""

    def __init__(self, text: str) -> None:
        with needs_extra("--rate_limit"):
            from limits import parse_many
            from limits.storage import MemoryStorage
            from limits.strategies import SlidingWindowCounterRateLimiter
        try:
            self._items: list[RateLimitItem] = parse_many(text)
        except ValueError:
            raise InvalidInput(f"expected such as 100/second;2000/minute, got {text!r}", field="rate_limit") from None
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, caller: str) -> None:
        """One more request of a caller. Raises Overloaded, with the time until the window has room, if it is one too many."""
        for item in self._items:
            if not self._limiter.hit(item, caller):
                raise self._refusal(item, caller)

    def _refusal(self, item: "RateLimitItem", caller: str) -> Overloaded:
        wait_s = self._limiter.get_window_stats(item, caller).reset_time - time.time()
        return Overloaded(f"expected at most {item} from one caller", retry_after_s=min(max(wait_s, 0.001), item.get_expiry()))
