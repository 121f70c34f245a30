"""At least once: offsets are committed behind what was written, and never without it."""

from collections.abc import Mapping, Sequence

import pytest

from penstock_transformer.broker.at_least_once import AtLeastOnce
from penstock_transformer.broker.membership import Membership
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import OutRecord, Partition

STEPS: list[str] = []


class Recording:
    def __init__(self) -> None:
        STEPS.append("open")

    def send(self, records: Sequence[OutRecord]) -> None:
        STEPS.append(f"send {len(records)}")
        if records[0].value == b"bad":
            raise Retriable("away")

    def close(self) -> None:
        STEPS.append("close")


def commit(offsets: Mapping[Partition, int]) -> None:
    STEPS.append(f"commit {list(offsets.values())}")


GROUP = Membership(None, commit)


@pytest.fixture(autouse=True)
def steps() -> list[str]:
    STEPS.clear()
    return STEPS


def test_offsets_follow_their_records(steps: list[str]) -> None:
    outlet = AtLeastOnce(Recording)
    with pytest.raises(Retriable):
        outlet.commit([], {}, None)
    outlet.open()
    outlet.commit([OutRecord("t", None, b"v")], {Partition("t", 0): 5}, GROUP)
    outlet.commit([], {Partition("t", 0): 6}, GROUP)
    outlet.commit([OutRecord("t", None, b"v")], {}, None)
    outlet.close()
    assert steps == ["open", "send 1", "commit [5]", "commit [6]", "send 1", "close"]


def test_offsets_of_records_that_were_not_written_are_not_committed(steps: list[str]) -> None:
    outlet = AtLeastOnce(Recording)
    outlet.open()
    with pytest.raises(Retriable):
        outlet.commit([OutRecord("t", None, b"bad")], {Partition("t", 0): 5}, GROUP)
    outlet.restore()
    outlet.commit([OutRecord("t", None, b"v")], {Partition("t", 0): 5}, GROUP)
    assert steps == ["open", "send 1", "close", "open", "send 1", "commit [5]"]
