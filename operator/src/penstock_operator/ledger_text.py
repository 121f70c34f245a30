"""A trial's ledger: as it is while this operator goes on with it, a line of text where a status is written.

    Ledger --every look--> Ledger --write_ledger, with words--> status.evidence.ledger --read_ledger--> another operator's Ledger

Most looks write nothing, so most ledgers never become text. It is MessagePack, zlib and base64, for thousands of counts are
nothing to read in `kubectl describe`.

Invariant: a ledger that is kept is never changed; whoever adds to one has his own.
"""

import base64
import zlib

import msgspec

from penstock.evidence.ledger import Ledger

_LEVEL = 1
"""Of zlib: a twentieth more text than the usual, in half the time."""
_MOST_WRITTEN = 128
_written: dict[str, Ledger] = {}
"""Ledgers by their text, which the next look at the same trial reads: each is taken once, those written last are kept."""


def read_ledger(kept: str | Ledger) -> Ledger:
    """One to add to, of what is kept, as text or as it is; empty for anything else: the trial then counts anew."""
    if isinstance(kept, Ledger):
        return _copied(kept)
    known = _written.pop(kept, None)
    if known is not None:
        return known
    try:
        return msgspec.msgpack.decode(zlib.decompress(base64.b64decode(kept)), type=Ledger) if kept else Ledger()
    except (ValueError, zlib.error, msgspec.MsgspecError):
        return Ledger()


def write_ledger(ledger: Ledger) -> str:
    """A line of text."""
    text = base64.b64encode(zlib.compress(msgspec.msgpack.encode(ledger), _LEVEL)).decode()
    _written[text] = _copied(ledger)
    if len(_written) > _MOST_WRITTEN:
        del _written[next(iter(_written))]
    return text


def _copied(ledger: Ledger) -> Ledger:
    # Entries are never changed, only which of them it holds.
    return Ledger(list(ledger.totals), dict(ledger.known), ledger.looks, ledger.doubted)
