"""All alerts as one rule file: what the chart's PrometheusRule holds, and what promtool tests.

alerts of each module --groups--> {"groups": [{"name", "rules": […]}]} --text--> charts/penstock/files/alerts.yaml
"""

from typing import Any

import yaml

from monitoring.alerts import processes, quality, queues, rollouts, serving, store
from monitoring.alerts.alert import Alert

_HEAD = "# Made by `make dashboards` from monitoring/alerts; a test holds it to that.\n"


def groups() -> dict[str, list[Alert]]:
    """The alerts by the part of the system that they are about."""
    modules = {
        "serving": serving,
        "processes": processes,
        "feature-store": store,
        "queues": queues,
        "rollouts": rollouts,
        "quality": quality,
    }
    return {name: module.alerts() for name, module in modules.items()}


def every() -> list[Alert]:
    """All of them."""
    return [alert for group in groups().values() for alert in group]


def document() -> dict[str, Any]:
    """The rule file."""
    made = [{"name": f"penstock-{name}", "rules": [alert.rule() for alert in group]} for name, group in groups().items()]
    return {"groups": made}


def text() -> str:
    """The rule file as it is written; expressions of several lines as blocks."""
    return _HEAD + yaml.dump(document(), Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
