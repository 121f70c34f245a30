"""Pods that bundles are fetched from: a server of the claim's files over HTTPS, and an S3-compatible one with its account."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bed import engine
from bed.authority import Authority
from bed.cluster import Cluster
from bed.flights import CLAIM, Flights
from bed.images import S3, STORAGE, name_own
from bed.pods import pod, service

ACCESS, SECRET = "penstock-access", "penstock-secret"
ACCOUNT = "bucket-reader"
S3_PORT = 7070
FILES_PORT = 8443
_TRUSTING = "localhost/penstock-bed/storage-initializer:trusting"
_SERVE = """\
import functools, http.server, ssl
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/mnt/models")
server = http.server.ThreadingHTTPServer(("", 8443), handler)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def file_server(namespace: str, folder: Path) -> list[dict[str, Any]]:
    """`https://files.NAMESPACE:8443/` shows the claim's files. `folder` gets the authority that has signed for it, `ca.crt`."""
    Authority(folder).issue("files", "files", hosts=[f"files.{namespace}"])
    files = {"tls.crt": "files.crt", "tls.key": "files.key"}
    data = {name: base64.b64encode((folder / file).read_bytes()).decode() for name, file in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "files"}, "data": data}
    mounts = [("models", "/mnt/models"), ("tls", "/tls")]
    container = {
        "image": name_own("transformer"),
        "command": ["python3", "-c", _SERVE],
        "volumeMounts": [{"name": name, "mountPath": path, "readOnly": True} for name, path in mounts],
        "readinessProbe": {"tcpSocket": {"port": FILES_PORT}, "periodSeconds": 1},
    }
    models = {"name": "models", "persistentVolumeClaim": {"claimName": CLAIM, "readOnly": True}}
    return [
        secret,
        pod("files", container, [models, {"name": "tls", "secret": {"secretName": "files"}}]),
        service("files", FILES_PORT),
    ]


@contextmanager
def trusted(cluster: Cluster, folder: Path) -> Iterator[None]:
    """What fetches bundles in this cluster trusts the authority of `folder`, too, beside those that it knows."""
    (folder / "Dockerfile").write_text(
        f"FROM {STORAGE}\nUSER 0\nCOPY ca.crt /tmp/ca.crt\nRUN cat /tmp/ca.crt >> $(python3 -m certifi)\nUSER 1000\n"
    )
    engine.build(_TRUSTING, folder)
    cluster.load(_TRUSTING)
    _fetch_with(cluster, _TRUSTING)
    try:
        yield
    finally:
        _fetch_with(cluster, STORAGE)


def _fetch_with(cluster: Cluster, image: str) -> None:
    patch = json.dumps({"spec": {"container": {"image": image}}})
    cluster.kubectl("patch", "clusterstoragecontainer", "default", "--type=merge", f"--patch={patch}")


def s3_server(namespace: str) -> list[dict[str, Any]]:
    """The server, and a service account whose secret tells KServe's storage initializer how to reach it."""
    container = {
        "image": S3,
        "args": ["--port", f":{S3_PORT}", "--access", ACCESS, "--secret", SECRET, "posix", "--sidecar", "/tmp", "/buckets"],
        "volumeMounts": [{"name": "buckets", "mountPath": "/buckets"}, {"name": "tmp", "mountPath": "/tmp"}],
        "readinessProbe": {"tcpSocket": {"port": S3_PORT}, "periodSeconds": 1},
    }
    volumes: list[dict[str, Any]] = [{"name": "buckets", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}, "secrets": [{"name": "bucket"}]}
    return [s3_secret(namespace, SECRET), account, pod("s3", container, volumes), service("s3", S3_PORT)]


def s3_secret(namespace: str, key: str) -> dict[str, Any]:
    """The account's secret with a key, which the server takes or not."""
    annotations = {
        "serving.kserve.io/s3-endpoint": f"s3.{namespace}:{S3_PORT}",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    values = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bucket", "annotations": annotations},
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()},
    }


@contextmanager
def credentials_ended(flights: Flights) -> Iterator[None]:
    """The server does not take what the secret has, as when a key has ended; afterwards it does again. Who has fetched already
    keeps what it fetched."""
    flights.apply(s3_secret(flights.namespace, "ended"))
    try:
        yield
    finally:
        flights.apply(s3_secret(flights.namespace, SECRET))
