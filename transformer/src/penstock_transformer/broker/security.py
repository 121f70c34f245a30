"""How the brokers are spoken to: in clear text or TLS, with or without a log-in. Each client turns this into its own options.

`--kafka_security` takes Kafka's own names of the four protocols, so that what a cluster's owner hands out can be copied.
"""

from dataclasses import dataclass
from pathlib import Path

from penstock.settings import setting

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, kw_only=True)
class KafkaSecurity:
    """TLS and log-in of the connections to the brokers."""

    kafka_security: str = setting("PLAINTEXT", "How the brokers are spoken to: clear text or TLS (SSL), with a log-in (SASL) or without.", choices=PROTOCOLS)  # fmt: skip # noqa: E501
    kafka_ca_file: Path | None = setting(None, "PEM file of who signs the brokers' certificates; without it: this machine's own.")  # noqa: RUF009
    kafka_cert_file: Path | None = setting(None, "PEM file of the certificate that is shown to the brokers, if they ask for one.")  # noqa: RUF009
    kafka_key_file: Path | None = setting(None, "PEM file of that certificate's key.")  # noqa: RUF009
    kafka_sasl_mechanism: str = setting("SCRAM-SHA-512", "How the password is shown.", choices=MECHANISMS)
    kafka_username: str | None = setting(None, "Who logs in.")
    kafka_password: str | None = setting(None, "The password.", password=True)

    def __post_init__(self) -> None:
        if (self.kafka_cert_file is None) != (self.kafka_key_file is None):
            raise ValueError("expected --kafka_cert_file and --kafka_key_file together, or neither")
        if self.logs_in and not (self.kafka_username and self.kafka_password):
            raise ValueError(f"--kafka_security {self.kafka_security}: expected --kafka_username and a kafka_password")
        if not self.encrypts and (self.kafka_ca_file or self.kafka_cert_file):
            raise ValueError(f"--kafka_security {self.kafka_security} uses no certificates: expected SSL or SASL_SSL")
        if not self.logs_in and self.kafka_password:
            raise ValueError(f"--kafka_security {self.kafka_security} uses no password: expected SASL_PLAINTEXT or SASL_SSL")

    @property
    def encrypts(self) -> bool:
        """Whether the connections are TLS."""
        return self.kafka_security.endswith("SSL")

    @property
    def logs_in(self) -> bool:
        """Whether a name and a password are shown."""
        return self.kafka_security.startswith("SASL")
