"""A real Apache Kafka for tests and benchmarks: one node that is broker and controller, on ports that the kernel chose.

    with KafkaServer() as kafka: open_intake(kafka.bootstrap, …)     kafka.kill(), .start(), .pause(), .resume() cause the faults
    kafka.console("kafka-topics", "--create", "--topic", "t")        Kafka's own tools, against this broker

`bootstrap` takes anybody in clear text. With `tls` or `users` there is a second listener, `secure_bootstrap`, that asks for them.
The data outlives `kill` and `start`; topics are made only when asked for; groups do not wait for more members, and take sessions
of half a second and up; what an open transaction holds up is let go within half a second of its time-out.
"""

import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from penstock.testing.certificates import Pair
from penstock.testing.programs import cache_directory
from penstock.testing.servers import Server, ServerMissing, free_port

KAFKA_VERSION = "4.1.1"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
CONSOLE_S = 60.0

_TOOLS = {
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
}
# Quick to start rather than quick in the long run; a broker that is measured is given `quick_start=False`.
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
_CLUSTER = "cGVuc3RvY2stdGVzdHMtMQ"
# An ApiVersions request of version 0 without a client's name (protocol guide, "ApiVersions"): size, key, version, number, name.
_HELLO = struct.pack(">ihhih", 10, 18, 0, 1, -1)


def kafka_directory() -> Path:
    """Where `tools/get_kafka.py` puts Kafka's jars."""
    return cache_directory() / f"kafka-{KAFKA_VERSION}"


class KafkaServer(Server):
    """Kafka in KRaft mode. `users` (name -> password) may log in with every one of MECHANISMS; `tls` is the broker's certificate,
    `authority` the file of who signs the certificates that clients then must bring; `settings` are added to the broker's own."""

    name = "kafka"
    start_s = 120.0

    def __init__(
        self,
        *,
        tls: Pair | None = None,
        authority: Path | None = None,
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        heap_mb: int = 384,
        quick_start: bool = True,
    ) -> None:
        self._java = java()
        super().__init__()
        self._tls = tls
        self._authority = authority
        self._users = dict(users or {})
        self._extra = dict(settings or {})
        self._machine = [f"-Xmx{heap_mb}m", *(_QUICK if quick_start else ())]
        self._properties = self.directory / "server.properties"
        self._controller_port = self._secure_port = 0

    @property
    def bootstrap(self) -> str:
        """`host:port` in clear text, for anybody."""
        return f"{self.host}:{self.port}"

    @property
    def secure_bootstrap(self) -> str:
        """`host:port` of the listener with TLS, a log-in, or both. Needs `tls` or `users`."""
        assert self._protocol is not None, "this broker was given neither tls nor users"
        return f"{self.host}:{self._secure_port}"

    @property
    def _protocol(self) -> str | None:
        """What the second listener speaks; None: there is none."""
        if self._users:
            return "SASL_SSL" if self._tls else "SASL_PLAINTEXT"
        return "SSL" if self._tls else None

    def command(self) -> list[str]:
        """The broker; its storage is formatted on the first start."""
        if not self._properties.exists() or f":{self.port}\n" not in self._properties.read_text() + "\n":
            self._controller_port, self._secure_port = free_port(), free_port()
            shutil.rmtree(self.directory / "data", ignore_errors=True)
            self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
            self._format()
        return [*self._java, *self._machine, "kafka.Kafka", str(self._properties)]

    def answers(self) -> bool:
        """It answers the first request that every client sends: it does so once it is a member of its cluster."""
        try:
            with socket.create_connection((self.host, self.port), 1) as connection:
                connection.settimeout(5)
                connection.sendall(_HELLO)
                return len(connection.recv(4)) == 4
        except OSError:
            return False

    def console(self, tool: str, *arguments: str, input: str = "", timeout_s: float = CONSOLE_S) -> str:
        """Run one of Kafka's console tools in clear text; what it prints. Raises RuntimeError if it fails."""
        command = [*self._java, "-Xmx128m", *_QUICK, _TOOLS[tool], "--bootstrap-server", self.bootstrap, *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise RuntimeError(f"{tool} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    def create_topic(self, name: str, partitions: int = 1, settings: Mapping[str, str] | None = None) -> None:
        """Make a topic with Kafka's own tool: takes a second; a client's administration is quicker."""
        options = [part for key, value in (settings or {}).items() for part in ("--config", f"{key}={value}")]
        self.console("kafka-topics", "--create", "--topic", name, "--partitions", str(partitions), *options)

    def _format(self) -> None:
        scram = [
            part
            for name, password in self._users.items()
            for mechanism in MECHANISMS[1:]
            for part in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
        ]
        command = [*self._java, "-Xmx64m", *_QUICK, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c"]
        done = subprocess.run([*command, str(self._properties), *scram], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")

    def _settings(self) -> dict[str, str]:
        addresses = {"PLAIN": f"{self.host}:{self.port}"}
        protocols = {"PLAIN": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        if self._protocol:
            addresses["SECURE"] = self.secure_bootstrap
            protocols["SECURE"] = self._protocol
        controller = f"{self.host}:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": _joined({"CONTROLLER": controller, **addresses}, "://"),
            "advertised.listeners": _joined(addresses, "://"),
            "listener.security.protocol.map": _joined(protocols, ":"),
            "inter.broker.listener.name": "PLAIN",
            "log.dirs": str(self.directory / "data"),
            **_SETTINGS,
            **(self._secure_settings() if self._protocol else {}),
            **self._extra,
        }

    def _secure_settings(self) -> dict[str, str]:
        made: dict[str, str] = {}
        if self._tls:
            # Kafka wants key and certificate in one file.
            store = self.directory / "broker.pem"
            store.write_bytes(self._tls.key.read_bytes() + self._tls.cert.read_bytes())
            made |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}
        if self._authority:
            made |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(self._authority), "ssl.client.auth": "required"}
        if self._users:
            listener = "listener.name.secure"
            modules = "org.apache.kafka.common.security"
            users = " ".join(f'user_{name}="{password}"' for name, password in self._users.items())
            made[f"{listener}.sasl.enabled.mechanisms"] = ",".join(MECHANISMS)
            made[f"{listener}.plain.sasl.jaas.config"] = f"{modules}.plain.PlainLoginModule required {users};"
            for mechanism in MECHANISMS[1:]:
                made[f"{listener}.{mechanism.lower()}.sasl.jaas.config"] = f"{modules}.scram.ScramLoginModule required;"
            # Rights can be taken from a user with kafka-acls; whom nothing is said of may do everything.
            made["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            made |= {"super.users": "User:ANONYMOUS", "allow.everyone.if.no.acl.found": "true"}
        return made


def java() -> list[str]:
    """How to start a class of Kafka's. Raises ServerMissing."""
    program = shutil.which("java")
    if program is None:
        raise ServerMissing("Java 17 or later is missing: apt-get install default-jre-headless")
    libraries = kafka_directory() / "libs"
    if not libraries.exists():
        raise ServerMissing("Apache Kafka is missing: apt-get install maven, then .venv/bin/python tools/get_kafka.py")
    return [program, "-cp", f"{libraries}/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


def _joined(pairs: Mapping[str, str], mark: str) -> str:
    return ",".join(f"{name}{mark}{value}" for name, value in pairs.items())


_SETTINGS = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "1500",
    "controller.quorum.election.backoff.max.ms": "50",
    "controller.quorum.election.timeout.ms": "100",
    "controller.quorum.fetch.timeout.ms": "500",
    "initial.broker.registration.timeout.ms": "30000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "num.io.threads": "2",
    "num.network.threads": "2",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
}
