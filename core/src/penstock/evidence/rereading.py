"""A pod's answers to `GET /evidence`, one after the other: an entry that is byte for byte what it was is not read again.

    answer --entries as bytes--> those of the answer before, as they are | the others, decoded --> Evidence

A pod goes on telling up to eight entries of the routes before its last, which change no more, and is asked every few seconds.

Invariant: what is read of an answer is what `read_evidence` makes of it. Entries are shared with the answer before: nobody
changes one.
"""

import msgspec
from msgspec.structs import asdict

from penstock.evidence.document import Entry, Evidence, Process, check_bins, check_format, decoding


class _Process(Process):
    entries: list[msgspec.Raw] = []  # type: ignore[assignment] # as yet unread


class _Told(Evidence):
    processes: list[_Process] = []  # type: ignore[assignment] # their entries are


_answers = msgspec.json.Decoder(_Told)
_entries = msgspec.json.Decoder(Entry)


class Rereader:
    """Of one pod."""

    def __init__(self) -> None:
        self._last: dict[bytes, Entry] = {}

    def read(self, body: bytes) -> Evidence:
        """The pod's next answer. Raises InvalidInput for one that is not evidence, or has a later format."""
        read: dict[bytes, Entry] = {}
        with decoding():
            told = _answers.decode(body)
            processes = [
                Process(**{**asdict(one), "entries": [self._entry(bytes(entry), read) for entry in one.entries]})
                for one in told.processes
            ]
        check_format(told)
        self._last = read
        return Evidence(**{**asdict(told), "processes": processes})

    def _entry(self, text: bytes, read: dict[bytes, Entry]) -> Entry:
        entry = self._last.get(text)
        if entry is None:
            entry = _entries.decode(text)
            check_bins(entry)
        read[text] = entry
        return entry
