"""The step of a version that is being verified: what its Job came to, and when it is run again if that was nothing.

    Job --a verdict--> Verified, or Failed
        --ended without--> waits, twice as long each time --> run again ... --> Failed after `verify_attempts` of them

Invariant: how long it waits is counted from the end of the Job that is there, which stays until then. Whoever looks, and whatever
operator has died meanwhile, it is run again at the same moment.
"""

from penstock_operator.clock import read_moment, write_moment
from penstock_operator.cluster import JOBS
from penstock_operator.model_version import ModelVersion
from penstock_operator.patience import is_given_up, is_overdue
from penstock_operator.policy import Policy
from penstock_operator.seen import Job
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
        return _try_again(version, job, here)
    if not verdict.ok:
        return Step(Stage.FAILED, 0, verdict.reason, verdict.message, verdict=verdict)
    return Step(stage, 0, "Verified", verdict=verdict)


def _try_again(version: ModelVersion, job: Job, here: Situation) -> Step:
    """The step of a version whose Job is mute."""
    policy, why = here.policy, f": {job.message}" if job.message else ""
    tries, most = version.status.verify_attempts + 1, policy.verify_attempts
    if tries >= most:
        return Step(Stage.FAILED, 0, "VerificationBroken", f"its job ended {most} times without a verdict{why}")
    told = f"try {tries} of {most} ended without a verdict"
    if is_overdue(version, here):
        return Step(Stage.FAILED, 0, "VerificationTimedOut", f"{told}, and there is no other within maxDuration{why}")
    if wait_s(job, policy, here.seen.now):
        return Step(Stage.VERIFYING, 0, "Verifying", f"{told}, the next is at {write_moment(_due(job, policy))}{why}")
    return Step(Stage.VERIFYING, 0, "Verifying", f"{told}, the next begins{why}", again=True)


def wait_s(job: Job, policy: Policy, now: float) -> float:
    """Seconds until a mute Job is run again; 0 if its time has come, and of any other Job."""
    rest_s = _due(job, policy) - now if job.is_mute else 0.0
    # One that ended much later than now did so by another clock, or this one was set since: no reason to wait for it.
    return rest_s if 0.0 < rest_s <= 2 * _pause_s(job, policy) else 0.0


def _due(job: Job, policy: Policy) -> float:
    """When it is run again, in seconds since 1970; long ago for one that does not say when it ended."""
    return read_moment(job.over, 0.0) + _pause_s(job, policy)


def _pause_s(job: Job, policy: Policy) -> float:
    return min(policy.verify_again_s * 2.0 ** min(job.attempt, 30), policy.verify_longest_s)
