"""What `helm test` runs in the cluster: `installed.py OPERATOR_READY_URL [ACCOUNT]`. Ends with 1 and a line on what is missing.

It asks as the operator's service account, and only what every account may: readiness, and which resources are served.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path(sys.argv[2] if len(sys.argv) > 2 else "/var/run/secrets/kubernetes.io/serviceaccount")
PATIENCE_S = 60.0


def check_operator(url: str) -> None:
    """The operator says that it is ready, within a minute: right after an installation it may still be starting."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                print("operator: ready")
                return
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"operator: not ready at {url}: {error}")
            time.sleep(1)


def check_resource(group_version: str, resource: str) -> None:
    """The API server serves this resource."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    token = (ACCOUNT / "token").read_text()
    request = urllib.request.Request(f"https://{host}:{port}/apis/{group_version}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(
            request, timeout=10, context=ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        ) as answer:
            served = {found["name"] for found in json.load(answer)["resources"]}
    except urllib.error.HTTPError as error:
        sys.exit(f"{group_version}: not served ({error.code})")
    if resource not in served:
        sys.exit(f"{group_version}: no {resource}, only {', '.join(sorted(served))}")
    print(f"{group_version}: {resource}")


check_operator(sys.argv[1])
check_resource("penstock.dev/v1alpha1", "modelversions")
check_resource("serving.kserve.io/v1beta1", "inferenceservices")
check_resource("serving.kserve.io/v1alpha1", "clusterservingruntimes")
