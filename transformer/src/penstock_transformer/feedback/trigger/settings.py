"""The trigger's settings: environment prefix `PENSTOCK_TRANSFORMER`, as for all programs of this image."""

from dataclasses import dataclass
from pathlib import Path

from penstock.serving.options import ServingSettings
from penstock.settings import setting
from penstock_transformer.predictions.webhook_settings import WebhookSettings


@dataclass(frozen=True, kw_only=True)
class TriggerSettings(ServingSettings, WebhookSettings):
    """Everything that `penstock-transformer retrain-trigger` takes. Where its webhooks go stands in its own files, and no caller
    names it: so private networks, plain HTTP and all ports are open unless they are closed."""

    log_dir: str = setting(text="Folder of the prediction log, as log-sink or `penstock serve --log_dir` writes it.")
    watch: tuple[str, ...] = setting(text="Watch files, comma-separated, one a model: bounds, window, and what is done.")
    look_s: float = setting(
        60.0, "How often to see whether a window is complete, an attempt is due, a retraining has ended.", unit="s", least=0.1
    )
    once: bool = setting(False, "Do what is due now and exit, for a CronJob.")
    webhook_http: bool = setting(True, "Send to http:// addresses too, where everybody on the way reads along.")
    webhook_networks: tuple[str, ...] = setting(
        ("0.0.0.0/0", "::/0"), "Private networks that webhooks may go to, for example 10.0.0.0/8,fd00::/8."
    )
    webhook_ports: tuple[int, ...] = setting((0,), "Ports that webhooks may go to; 0 among them: all.")

    def __post_init__(self) -> None:
        self.check_webhooks()
        if not self.watch:
            raise ValueError("--watch: expected at least one watch file")

    @property
    def files(self) -> list[Path]:
        """The watch files."""
        return [Path(name) for name in self.watch]
