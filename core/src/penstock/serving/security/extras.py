"""Libraries that only some settings of security need, named in one line where they are missing."""

import contextlib
from collections.abc import Iterator

from penstock.errors import InvalidInput


@contextlib.contextmanager
def needs_extra(option: str) -> Iterator[None]:
    """Around imports that `option` needs. Raises InvalidInput with what to install."""
    try:
        yield
    except ImportError as error:
        raise InvalidInput(f"{option} needs {error.name}: install penstock[auth]", field=option.lstrip("-")) from None
