"""Settings of webhooks; the programs that take them at submission or deliver them inherit these."""

from dataclasses import dataclass
from pathlib import Path

from penstock.settings import setting
from penstock_transformer.predictions.addresses import Network, read_networks
from penstock_transformer.predictions.signing import read_secrets


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """What webhooks are signed with, where they may go, and how often they are tried. Without a secret there are none."""

    webhook_secret: str = setting(
        "",
        "Signs webhooks: whsec_ and base64 of 24 to 64 bytes; while one takes another's place both, with a space. "
        "Without it none are sent.",
        secret=True,
    )
    webhook_http: bool = setting(False, "Send to http:// addresses too, where everybody on the way reads along.")
    webhook_networks: tuple[str, ...] = setting((), "Private networks that webhooks may go to, for example 10.0.0.0/8,fd00::/8.")
    webhook_ports: tuple[int, ...] = setting((80, 443, 8443), "Ports that webhooks may go to; 0 among them: all.")
    webhook_ca: Path | None = setting(None, "Certificates (PEM) that receivers are believed by [the system's].")  # noqa: RUF009
    webhook_timeout_s: float = setting(
        15.0, "Longest time for one attempt, from the name's look-up to the answer.", unit="s", least=0.1
    )
    webhook_lease_s: float = setting(
        30.0,
        "Beyond the time of an attempt: a deliverer that is silent for so long loses the webhook to another.",
        unit="s",
        least=0.1,
    )
    webhook_attempts: int = setting(12, "Attempts at most, over about a day and a half.", least=1)
    webhook_first_retry_s: float = setting(
        5.0, "Wait before the second attempt; each further one is four times as long.", unit="s"
    )
    webhook_most_retry_s: float = setting(21_600.0, "Longest wait between two attempts.", unit="s")
    webhook_in_flight: int = setting(32, "Webhooks under way at once in one process.", least=1)
    webhook_per_host: int = setting(4, "Webhooks under way at once to one host, from one process.", least=1)

    def webhook_allowed(self) -> tuple[Network, ...]:
        """The private networks that are open. Raises ValueError."""
        return read_networks(self.webhook_networks)

    def check_webhooks(self) -> None:
        """Raises ValueError for a setting that no start can make good."""
        self.webhook_allowed()
        read_secrets(self.webhook_secret)
