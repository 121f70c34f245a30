"""ModelVersions of the flights bundle, as a user makes, follows and tells them: kubectl and `penstock rollout`, nothing else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bed import flights as example
from bed.flights import MODEL, Flights
from bed.trouble import BedError

NEXT = "flights-8"
BAD = "flights-9"
"""It refuses flights whose plane nobody knows (bed/faulty.py)."""
WAIT_S = 300
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}


def make_next_bundle(flights: Flights, folder: Path) -> Path:
    """The same model as version 8, also in the claim: another bundle, since its digest is another. Returns its folder."""
    made = folder / NEXT
    shutil.copytree(flights.bundle, made)
    text = (made / "bundle.yaml").read_text()
    (made / "bundle.yaml").write_text(re.sub(r"(?m)^version: .*$", 'version: "8"', text))
    if example.digest(made) == example.digest(flights.bundle):
        raise BedError("the example's bundle.yaml says no version")
    flights.put_bundle(made, NEXT)
    return made


def manifest(
    name: str,
    bundle: Path,
    *,
    uri: str = f"pvc://{example.CLAIM}/{NEXT}",
    model: str = MODEL,
    replicas: int = 1,
    **rollout: Any,
) -> dict[str, Any]:
    """A ModelVersion of the bundle that lies at `uri`."""
    spec = {
        "inferenceService": model,
        "bundle": {"uri": uri, "digest": example.digest(bundle)},
        "runtime": {"replicas": {"min": replicas}, "resources": _RESOURCES},
        "rollout": rollout,
    }
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": name}, "spec": spec}


def penstock_rollout(flights: Flights, *arguments: str) -> str:
    """`penstock rollout …`, and what it says. Raises BedError."""
    command = [str(Path(sys.executable).parent / "penstock"), "rollout", *arguments, "--namespace", flights.namespace]
    environment = {**os.environ, **flights.cluster.environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=WAIT_S)
    if done.returncode:
        raise BedError(done.stdout + done.stderr)
    return done.stdout


def told(result: dict[str, Any]) -> dict[str, Any]:
    """What a load tells, without its every answer."""
    return {name: value for name, value in result.items() if name != "answers"}


def wait_for(flights: Flights, name: str, field: str, value: str, within_s: int = WAIT_S) -> None:
    """Until a field of its status has a value."""
    _wait(flights, name, f"jsonpath={{.status.{field}}}={value}", within_s)


def wait_live(flights: Flights, name: str) -> None:
    """Until it is Live."""
    _wait(flights, name, "condition=Live")


def _wait(flights: Flights, name: str, what: str, within_s: int = WAIT_S) -> None:
    try:
        flights.kubectl("wait", f"--for={what}", f"modelversion/{name}", f"--timeout={within_s}s", timeout_s=within_s + 10)
    except BedError as error:
        shown = flights.kubectl("get", "modelversion", name, "--output=jsonpath={.status}")
        raise BedError(f"{error}\n{name} says {shown}") from None


def check_load(flights: Flights, bundle: Path, result: dict[str, Any]) -> None:
    """Asserts that no request failed, and that both bundles answered."""
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    digests = {name.rpartition("@")[2] for name in result["bundles"]}
    assert digests == {example.digest(flights.bundle), example.digest(bundle)}
