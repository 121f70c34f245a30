"""A ledger as text: the one that is kept for the next look is the one that another operator would read."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.evidence.document import Entry, Evidence, Latency, Process
from penstock.evidence.ledger import Ledger
from penstock_operator.ledger_text import read_ledger, write_ledger

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
LOOKS = st.lists(
    st.tuples(st.sampled_from(["one", "two", "three"]), st.sampled_from([OLD, NEW]), st.integers(-20, 60), st.booleans()),
    max_size=12,
)


def pod(incarnation: str, counts: dict[str, int]) -> Evidence:
    entries = [
        Entry(digest, 1, requests=count, rows=count, failed_keys={"internal": count // 3}, latency=Latency([(40, count)], []))
        for digest, count in counts.items()
    ]
    return Evidence("flights", [Process(incarnation, 3600.0, entries)])


@given(LOOKS)
def test_what_is_kept_and_what_is_read_are_one_ledger(looks: list[tuple[str, str, int, bool]]) -> None:
    kept, decoded, never_text = Ledger(), Ledger(), Ledger()
    counted: dict[str, dict[str, int]] = {}
    for incarnation, digest, more, over in looks:
        counts = counted.setdefault(incarnation, {})
        counts[digest] = max(0, counts.get(digest, 0) + more)
        for ledger in (kept, decoded):
            ledger.take([pod(incarnation, counts)], with_features=False)
            ledger.forget({NEW} if over else {OLD, NEW})
        before = write_ledger(never_text)
        following = read_ledger(never_text)
        following.take([pod(incarnation, counts)], with_features=False)
        following.forget({NEW} if over else {OLD, NEW})
        # Whoever goes on from one that is kept leaves it as it was.
        assert write_ledger(never_text) == before
        never_text = following
        text = write_ledger(kept)
        # Whoever has written it may go on with his own.
        kept.take([pod("another", {NEW: 5})])
        kept = read_ledger(text)
        assert write_ledger(decoded) == text
        read_ledger(text)
        decoded = read_ledger(text)
        assert kept == decoded == never_text
