"""Faults as users spell them: read and told alike, refused with the text at fault."""

import pytest

from penstock.errors import InvalidInput
from penstock_cli.rollout.simulate.faults import Fault, read_faults


@pytest.mark.parametrize(
    "texts, fault",
    [
        ([], Fault()),
        (["errors=0.02"], Fault(errors=0.02)),
        (["latency=3:0.1", "labels=0.5"], Fault(latency=3.0, slow_share=0.1, labels=0.5)),
        (["errors=0.02@100"], Fault(errors=0.02, from_weight=100)),
        (["cold=6:5"], Fault(cold=6.0, warm_s=5.0)),
        (["stable-errors=0.1", "cold=4"], Fault(stable_errors=0.1, cold=4.0)),
    ],
)
def test_what_is_read_is_told(texts: list[str], fault: Fault) -> None:
    assert read_faults(texts) == fault
    assert read_faults(str(fault).split() if texts else []) == fault


@pytest.mark.parametrize("text", ["errors", "speed=2", "errors=x", "errors=2", "errors=0.1:0.5", "errors=0.1@x", "latency=1.2.3"])
def test_what_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(InvalidInput, match=text.replace(".", r"\.")):
        read_faults([text])


def test_a_fault_may_wait_for_all_requests() -> None:
    late = read_faults(["errors=0.02@100", "cold=2:9"])
    assert late.at(50) == Fault(cold=2.0, warm_s=9.0)
    assert late.at(100).errors == 0.02
