"""A fault of the program itself, on whichever way in: the log has all of it, the caller an error that leads there by its id."""

import logging

from penstock.errors import Internal


def fault(logger: logging.Logger, event: str, error: BaseException | None, request_id: str | bytes) -> Internal:
    """Log `error` under the request's id, and give what the caller is answered with, which says nothing of it."""
    identity = request_id if isinstance(request_id, str) else request_id.decode("latin-1")
    logger.error(event, exc_info=error, extra={"request_id": identity})
    return Internal("internal error; the log has it under this request's id")
