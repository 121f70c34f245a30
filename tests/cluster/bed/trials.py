"""A rollout by evidence under steady requests, from its manifest to its end: what it came to, when, and what callers saw of it.

    callers of examples/flights --200 requests/s--> transformers --evidence--> operator
    ModelVersion --applied--> kubectl get --watch --> moments (stage, weight)          run() --> Trial

Invariant: the requests go on until the rollout has ended, and each is an answer or a failure of the trial.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bed import flights as example
from bed.flights import CLAIM, MODEL, Flights
from bed.places import ROOT
from bed.trouble import BedError
from bed.versions import manifest

from penstock.evidence.adding import added
from penstock.evidence.document import Evidence, read_evidence
from penstock.evidence.ledger import YOUNG_S
from penstock.evidence.scales import latency_bounds_s

CALLERS = ROOT / "examples" / "flights" / "callers.py"
PER_SECOND = 200
LONGEST_S = 1500.0
"""A good version takes seven minutes on a machine with time; on a busy one nothing is wrong with twice that."""
_ENDED = frozenset({"Live", "RolledBack", "Failed", "Retired"})
_COLUMNS = r'jsonpath={.status.stage} {.status.weight}{"\n"}'
_READ = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9090/evidence', timeout=30).read().decode())"


class Moment(NamedTuple):
    """When (Unix time) a version was seen to come to a stage and weight."""

    at: float
    stage: str
    weight: int


@dataclass(frozen=True)
class Trial:
    """One rollout. `callers` is what examples/flights/callers.py tells; `label` what the version's answers name."""

    name: str
    label: str
    applied_at: float
    moments: list[Moment]
    status: dict[str, Any]
    callers: dict[str, Any]
    load: float

    @property
    def stage(self) -> str:
        return self.moments[-1].stage

    @property
    def begun_at(self) -> float:
        """The first of its requests, or copies of requests."""
        copied = [moment.at for moment in self.moments if moment.stage == "Shadow"]
        return min([*copied, *([self.answers["first"]] if self.answers else [])])

    @property
    def took_s(self) -> float:
        """From its first request to its end."""
        return self.moments[-1].at - self.begun_at

    @property
    def answers(self) -> dict[str, Any]:
        """What it answered; empty if nothing."""
        found: dict[str, Any] = self.callers["answers"].get(self.label.lower(), {})
        return found

    @property
    def counted(self) -> dict[str, int]:
        """Units, failures and requests of the version that decided its last step."""
        found: dict[str, int] = self.status["evidence"]["analysis"]["candidate"]
        return found

    @property
    def tests(self) -> dict[str, dict[str, Any]]:
        """What the last look found, by metric."""
        found: dict[str, dict[str, Any]] = self.status["evidence"]["analysis"]["tests"]
        return found

    def refused(self) -> int:
        """Requests that were not answered with 200, whoever of the versions was asked."""
        counts = [(int(status), count) for one in self.callers["answers"].values() for status, count in one["statuses"].items()]
        return sum(count for status, count in counts if status != 200)

    def describe(self) -> str:
        """A few lines for people."""
        steps = ", ".join(
            f"{one.stage} {one.weight} % after {one.at - self.begun_at:.0f} s" for one in self.moments if one.weight
        )
        answers = "; ".join(
            f"{name[-12:]} {one['statuses']} p50 {one['p50_ms']} ms p99 {one['p99_ms']} ms"
            for name, one in self.callers["answers"].items()
        )
        return (
            f"{self.name}: {self.stage} after {self.took_s:.0f} s of requests (ready {self.begun_at - self.applied_at:.0f} s"
            f" after it was applied); load average {self.load:.1f}\n  {steps}\n  {self.status.get('message')}\n"
            f"  {self.callers['sent']} requests, {self.refused()} refused, {sum(self.callers['failures'].values())} failed;"
            f" {answers}{''.join(f'; {count} times {text}' for text, count in self.callers['failures'].items())}"
        )


def run(
    served: Flights, name: str, bundle: Path, place: str, *, meanwhile: Callable[[], None] | None = None, **rollout: Any
) -> Trial:
    """Apply a ModelVersion of the bundle at pvc://bundles/PLACE, and follow it to its end. `meanwhile` is called once it has
    requests. Raises BedError for one that does not end."""
    with calling(served) as end, _following(served, name) as moments:
        applied_at = time.time()
        served.apply(manifest(name, bundle, uri=f"pvc://{CLAIM}/{place}", strategy="evidence", **rollout))
        seen: list[Moment] = []
        until = time.monotonic() + LONGEST_S
        while not seen or seen[-1].stage not in _ENDED:
            try:
                moment = moments.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise BedError(f"{name} has not ended; it was {seen}, and says {_status(served, name)}") from None
            if not seen or moment[1:] != seen[-1][1:]:
                seen.append(moment)
                if meanwhile is not None and moment.stage in ("Shadow", "Canary"):
                    meanwhile()
                    meanwhile = None
        load = os.getloadavg()[1]
        return Trial(name, f"{MODEL}@{example.digest(bundle)}", applied_at, seen, _status(served, name), end(), load)


def _status(served: Flights, name: str) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(served.kubectl("get", "modelversion", name, "--output=json")).get("status", {})
    return status


@contextmanager
def calling(served: Flights, per_second: float = PER_SECOND) -> Iterator[Callable[[], dict[str, Any]]]:
    """Steady requests until what this gives is called, which tells what came of them."""
    with served.cluster.reach(served.namespace, f"{MODEL}-transformer", 80) as (host, port):
        command = [sys.executable, str(CALLERS), f"http://{host}:{port}", "--per_second", str(per_second), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
            told: list[dict[str, Any]] = []

            def end() -> dict[str, Any]:
                if not told:
                    running.send_signal(signal.SIGTERM)
                    output, _ = running.communicate(timeout=90)
                    told.append(json.loads(output))
                return told[0]

            try:
                yield end
            finally:
                if running.poll() is None:
                    running.kill()


@contextmanager
def _following(served: Flights, name: str) -> Iterator["queue.Queue[Moment]"]:
    """Every change of its stage and weight, as it comes."""
    command = ["kubectl", "--namespace", served.namespace, "get", "modelversion", "--watch"]
    command += [f"--field-selector=metadata.name={name}", f"--output={_COLUMNS}"]
    environment = {**os.environ, **served.cluster.environment}
    found: queue.Queue[Moment] = queue.Queue()

    def read(running: "subprocess.Popen[str]") -> None:
        assert running.stdout is not None
        for line in running.stdout:
            stage, _, weight = line.strip().partition(" ")
            if stage:
                found.put(Moment(time.time(), stage, int(weight or 0)))

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        reader = threading.Thread(target=read, args=(running,), daemon=True)
        reader.start()
        try:
            yield found
        finally:
            running.terminate()
            reader.join(10)


def look(served: Flights) -> list[Evidence]:
    """What each of the model's transformers tells."""
    selector = f"--selector=serving.kserve.io/inferenceservice={MODEL},component=transformer"
    names = served.kubectl("get", "pods", selector, "--output=jsonpath={.items[*].metadata.name}").split()
    return [read_evidence(served.kubectl("exec", name, "--", "python3", "-c", _READ).encode()) for name in names]


def await_age(served: Flights) -> None:
    """Until every transformer is so old that what it counts is believed."""
    deadline = time.monotonic() + LONGEST_S
    while not _is_old(served):
        if time.monotonic() > deadline:
            raise BedError("the transformers do not grow older")
        time.sleep(2.0)


def _is_old(served: Flights) -> bool:
    try:
        return all(process.age_s > YOUNG_S for pod in look(served) for process in pod.processes)
    except BedError:
        # One of them is just starting, or ending.
        return False


def median_latency_s(served: Flights) -> float:
    """What requests take, as the transformers count it: the median of all that they ever answered."""
    entries = [entry for pod in look(served) for process in pod.processes for entry in process.entries if not entry.shadow]
    counts = added(entries).latency.request
    beyond = sum(number for _, number in counts) / 2
    for place, number in sorted(counts):
        beyond -= number
        if beyond <= 0:
            return latency_bounds_s(place)[1]
    raise BedError("the transformers have counted no request")
