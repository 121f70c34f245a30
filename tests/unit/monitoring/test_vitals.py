"""What every program says of itself: readiness by check, its memory's limit, the end of its certificate."""

import asyncio
import base64
import datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from penstock.lifecycle import Lifecycle
from penstock.memory import memory_limit_bytes
from penstock.serving.security.expiry import expiry_s
from penstock.serving.vitals import Vitals
from penstock.testing.certificates import Authority


def samples(vitals: Vitals) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for family in vitals.families() for sample in family.samples}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_each_check_says_whether_it_holds_readiness() -> None:
    lifecycle, broken = Lifecycle(), ["away"]
    lifecycle.add_check("store", lambda: broken[0] if broken else None)
    vitals = Vitals(lifecycle.looks)
    assert samples(vitals)["penstock_unready", "lifecycle"] == 1
    assert samples(vitals)["penstock_unready", "store"] == 1
    asyncio.run(lifecycle.start())
    broken.clear()
    assert samples(vitals)["penstock_unready", "lifecycle"] == 0
    assert samples(vitals)["penstock_unready", "store"] == 0
    lifecycle.drain()
    assert samples(vitals)["penstock_unready", "lifecycle"] == 1


def test_a_certificate_s_end_is_what_a_library_reads(tmp_path: Path) -> None:
    pair = Authority("ours").issue(tmp_path, "server")
    ends = x509.load_pem_x509_certificate(pair.cert.read_bytes()).not_valid_after_utc
    assert expiry_s(pair.cert.read_text()) == ends.timestamp()
    assert samples(Vitals(dict, pair.cert))[("penstock_certificate_expiry_timestamp_seconds",)] == ends.timestamp()
    assert ends > datetime.datetime.now(datetime.UTC)


def test_a_file_that_is_no_certificate_has_no_end(tmp_path: Path) -> None:
    for text in ("", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError):
            expiry_s(text)
    (tmp_path / "none.pem").write_text("no certificate")
    for path in (tmp_path / "none.pem", tmp_path / "missing.pem"):
        assert ("penstock_certificate_expiry_timestamp_seconds",) not in samples(Vitals(dict, path))


@given(st.binary(max_size=60), st.integers(0, 400))
def test_a_broken_certificate_is_refused_and_never_crashes(noise: bytes, cut: int) -> None:
    body = base64.b64encode(b"\x30\x82\x01\x0a\x30\x82\x01\x00"[:cut] + noise).decode()
    try:
        expiry_s(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    except ValueError:
        pass


def test_memory_is_limited_by_the_tightest_group(tmp_path: Path) -> None:
    write(tmp_path / "fs/pod/memory.max", "2000\n")
    write(tmp_path / "fs/pod/box/memory.max", "max\n")
    write(tmp_path / "proc", "0::/pod/box\n")
    assert memory_limit_bytes(tmp_path / "fs", tmp_path / "proc") == 2000


def test_memory_of_cgroup_v1(tmp_path: Path) -> None:
    write(tmp_path / "fs/memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    write(tmp_path / "proc", "4:memory:/box\n")
    assert memory_limit_bytes(tmp_path / "fs", tmp_path / "proc") is None
    write(tmp_path / "fs/memory/box/memory.limit_in_bytes", "1000\n")
    assert memory_limit_bytes(tmp_path / "fs", tmp_path / "proc") == 1000


def test_no_cgroups_no_limit(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path / "fs", tmp_path / "proc") is None
