"""PostgreSQL in a cluster: a pod, its Service `postgres`, and the secret that tells our programs of it.

    install(cluster, "default")          cluster.apply(secret("default"), namespace=…)   in each namespace that has to know

Nothing outlives the pod: it is for trying things, not for data.
"""

from typing import Any
from urllib.parse import quote

from bed.cluster import Cluster
from bed.images import POSTGRES, build
from bed.pods import pod, service

NAME = "postgres"
PORT = 5432
SECRET = "predictions-database"
_PASSWORD = "p@ss/word"
_START = """\
set -eu
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
if [ ! -e /tmp/data ]; then
    printf %s "$PASSWORD" > /tmp/password
    initdb -D /tmp/data -U penstock -A scram-sha-256 --pwfile=/tmp/password -E UTF8 --locale=C --no-sync
    echo 'host all all all scram-sha-256' >> /tmp/data/pg_hba.conf
    echo 'CREATE DATABASE penstock' | postgres --single -D /tmp/data postgres
fi
exec postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories= -c fsync=off
"""


def install(cluster: Cluster, namespace: str) -> None:
    """A server with an empty database, and with a user, both named penstock; nothing if it is there. Raises BedError."""
    cluster.load(build(POSTGRES))
    cluster.apply(_pod(), service(NAME, PORT), namespace=namespace)
    cluster.kubectl("--namespace", namespace, "wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=120s")


def secret(namespace: str) -> dict[str, Any]:
    """As a user makes it, with the URL of the server in a namespace."""
    url = f"postgresql://penstock:{quote(_PASSWORD, safe='')}@{NAME}.{namespace}/penstock"
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"url": url}}


def _pod() -> dict[str, Any]:
    container = {
        "image": POSTGRES,
        "command": ["sh", "-c", _START],
        "env": [{"name": "PASSWORD", "value": _PASSWORD}],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return pod(NAME, container, [{"name": "tmp", "emptyDir": {}}])
