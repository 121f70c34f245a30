"""The step of a version that is being verified: what its Job came to, and that it is run again if that was nothing.

Job --a verdict--> Verified, or Failed
    --ended without--> run again ... --> Failed after `verify_attempts`
"""

from penstock_operator.clock import read_moment
from penstock_operator.cluster import JOBS
from penstock_operator.model_version import ModelVersion
from penstock_operator.patience import is_given_up, is_overdue
from penstock_operator.stage import Stage
from penstock_operator.step import Situation, Step
from penstock_operator.verdict import read_verdict

_NO_POD_S = 15.0
"""Pods of a job come at once, unless a quota or a policy refuses them; only the job's events have their words."""


def step_by_job(version: ModelVersion, here: Situation) -> Step:
    """The step of a version whose stage is Verifying."""
    seen, stage = here.seen, Stage.VERIFYING
    job = seen.jobs.get(version.job)
    if job is None or job.owner != version.uid or job.deleting or job.attempt != version.status.verify_attempts:
        why_not = seen.why_not(JOBS, version.job)
        if why_not and is_given_up(version, JOBS, version.job, here):
            return Step(Stage.FAILED, 0, "VerificationTimedOut", why_not)
        return Step(stage, 0, "JobRefused", why_not) if why_not else Step(stage, 0, "Verifying", "its job is being made")
    if not job.ended:
        message = job.message
        if not job.has_pod and seen.now - read_moment(job.made, seen.now) >= _NO_POD_S:
            message = f"its job has no pod: kubectl describe job {job.name}"
        if is_overdue(version, here):
            return Step(Stage.FAILED, 0, "VerificationTimedOut", message or "its job did not end within maxDuration")
        return Step(stage, 0, "Verifying", message)
    verdict = read_verdict(job, version)
    if verdict is None:
        why = f": {job.message}" if job.message else ""
        if version.status.verify_attempts + 1 >= here.policy.verify_attempts:
            told = f"its job ended {here.policy.verify_attempts} times without a verdict{why}"
            return Step(Stage.FAILED, 0, "VerificationBroken", told)
        return Step(stage, 0, "Verifying", f"its job ended without a verdict, and is run again{why}", again=True)
    if not verdict.ok:
        return Step(Stage.FAILED, 0, verdict.reason, verdict.message, verdict=verdict)
    return Step(stage, 0, "Verified", verdict=verdict)
