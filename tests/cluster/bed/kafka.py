"""Apache Kafka in a cluster: a pod with one broker, its Service `kafka`, and kcat beside it for whoever wants to see a topic.

    install(cluster, "default", topics)          kubectl exec -i kafka -- kcat -P -b kafka:9092 -t flights.requests

Built of the jars that tools/get_kafka.py fetched. Nothing outlives the pod: it is for trying things, not for data.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bed import engine
from bed.cluster import Cluster
from bed.pods import pod, service
from bed.trouble import BedError

from penstock.testing.kafka import KAFKA_VERSION, kafka_directory

IMAGE = f"localhost/penstock-bed/kafka:{KAFKA_VERSION}"
NAME = "kafka"
PORT = 9092
_DOCKERFILE = """\
FROM {base}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends default-jre-headless kcat
COPY libs /opt/kafka/libs
COPY --chmod=755 start kafka-topics /usr/local/bin/
ENV CLASSPATH=/opt/kafka/libs/*
USER 65532
WORKDIR /tmp
ENTRYPOINT ["start"]
"""
_START = """\
#!/bin/sh
# The broker, which is its own controller; $ADVERTISED is what clients are told to call.
set -eu
cat > /tmp/server.properties <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://:9092,CONTROLLER://localhost:9093
advertised.listeners=PLAINTEXT://$ADVERTISED
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=/tmp/data
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
END
java -Xmx64m kafka.tools.StorageTool format -t cGVuc3RvY2stdGVzdHMtMQ -c /tmp/server.properties
exec java -Xmx384m -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn kafka.Kafka /tmp/server.properties
"""
_TOPICS = """\
#!/bin/sh
exec java -Xmx64m -XX:TieredStopAtLevel=1 org.apache.kafka.tools.TopicCommand --bootstrap-server localhost:9092 "$@"
"""


def install(cluster: Cluster, namespace: str, topics: Sequence[str]) -> None:
    """A broker with these topics; nothing if they are there. Raises BedError."""
    cluster.load(_build())
    cluster.apply(_pod(namespace), service(NAME, PORT), namespace=namespace)
    place = ("--namespace", namespace)
    cluster.kubectl(*place, "wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=180s")
    for topic in topics:
        cluster.kubectl(
            *place, "exec", NAME, "--", "kafka-topics", "--create", "--if-not-exists", "--topic", topic, "--partitions", "2"
        )


def _pod(namespace: str) -> dict[str, Any]:
    container = {
        "image": IMAGE,
        "env": [{"name": "ADVERTISED", "value": f"{NAME}.{namespace}:{PORT}"}],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return pod(NAME, container, [{"name": "tmp", "emptyDir": {}}])


def _build() -> str:
    """The image's tag; built unless it is there."""
    if engine.identify(IMAGE):
        return IMAGE
    libraries = kafka_directory() / "libs"
    if not libraries.exists():
        raise BedError("Apache Kafka is missing: apt-get install maven, then .venv/bin/python tools/get_kafka.py")
    with tempfile.TemporaryDirectory(prefix="penstock-kafka-") as name:
        folder = Path(name)
        (folder / "Dockerfile").write_text(_DOCKERFILE.format(base=engine.base()))
        (folder / "start").write_text(_START)
        (folder / "kafka-topics").write_text(_TOPICS)
        shutil.copytree(libraries, folder / "libs")
        engine.build(IMAGE, folder)
    return IMAGE
