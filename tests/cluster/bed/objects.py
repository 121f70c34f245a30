"""Pods that bundles are fetched from: a server of the claim's files over HTTP, and an S3-compatible one with its account."""

import base64
from typing import Any

from bed.flights import CLAIM
from bed.images import S3, name_own
from bed.pods import pod, service

ACCESS, SECRET = "penstock-access", "penstock-secret"
ACCOUNT = "bucket-reader"
S3_PORT = 7070


def file_server() -> list[dict[str, Any]]:
    """`http://files.NAMESPACE:8080/` shows the claim's files."""
    command = ["python3", "-m", "http.server", "8080", "--directory", "/mnt/models"]
    container = {
        "image": name_own("transformer"),
        "command": command,
        "volumeMounts": [{"name": "models", "mountPath": "/mnt/models", "readOnly": True}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    volume = {"name": "models", "persistentVolumeClaim": {"claimName": CLAIM, "readOnly": True}}
    return [pod("files", container, [volume]), service("files", 8080)]


def s3_server(namespace: str) -> list[dict[str, Any]]:
    """The server, and a service account whose secret tells KServe's storage initializer how to reach it."""
    container = {
        "image": S3,
        "args": ["--port", f":{S3_PORT}", "--access", ACCESS, "--secret", SECRET, "posix", "--sidecar", "/tmp", "/buckets"],
        "volumeMounts": [{"name": "buckets", "mountPath": "/buckets"}, {"name": "tmp", "mountPath": "/tmp"}],
        "readinessProbe": {"tcpSocket": {"port": S3_PORT}, "periodSeconds": 1},
    }
    volumes: list[dict[str, Any]] = [{"name": "buckets", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    annotations = {
        "serving.kserve.io/s3-endpoint": f"s3.{namespace}:{S3_PORT}",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    values = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bucket", "annotations": annotations},
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}, "secrets": [{"name": "bucket"}]}
    return [secret, account, pod("s3", container, volumes), service("s3", S3_PORT)]
