"""What a verification came to: the report that its container left, as a reason and a message.

`penstock-predictor verify --report` writes the report; a container that needed more memory than its pod has cannot, and the
kubelet says so. A job that ended without either was ended by somebody else (a drained node, a deleted pod) and is no verdict.
"""

from dataclasses import dataclass

import msgspec

from penstock_operator.model_version import ModelVersion, Verification
from penstock_operator.seen import Job

_REASONS = {
    "digest": "DigestDiffers", "layout": "BundleUnreadable", "load": "LoadFailed", "golden": "GoldenExamplesFailed",
    "rows": "RowsNotIndependent", "memory": "OutOfMemory", "fetch": "BundleUnreachable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` names what failed, `measured` what a good bundle costs."""

    ok: bool
    reason: str
    message: str = ""
    measured: Verification | None = None


def read_verdict(job: Job, version: ModelVersion) -> Verdict | None:
    """The verdict of a job that has ended; None if it ended without one."""
    if job.killed_for_memory:
        limit = ((version.spec.runtime.resources or {}).get("limits") or {}).get("memory", "the runtime's limit")
        return Verdict(False, "OutOfMemory", f"the bundle needs more memory than its pods have ({limit})")
    report = job.report
    if report is None:
        return None
    digest = version.spec.bundle.digest
    if report.get("ok") is True:
        if report.get("digest") != digest:
            return Verdict(False, "DigestDiffers", f"expected {digest}, found {report.get('digest')}")
        return Verdict(True, "Verified", measured=_measured(dict(report)))
    where = f"{report['field']}: " if report.get("field") else ""
    return Verdict(
        False, _REASONS.get(str(report.get("kind")), "VerificationFailed"), f"{where}{report.get('message', '')}"[:1024]
    )


def _measured(report: dict[str, object]) -> Verification:
    """Numbers are for people and for sizing: a report that lacks them is a verdict nevertheless."""
    wanted = {
        "modelBytes": report.get("model_bytes"),
        "peakMemoryBytes": report.get("peak_memory_bytes"),
        "seconds": report.get("seconds"),
        "profile": report.get("profile"),
    }
    try:
        return msgspec.convert({name: value for name, value in wanted.items() if value is not None}, Verification)
    except msgspec.ValidationError:
        return Verification()
