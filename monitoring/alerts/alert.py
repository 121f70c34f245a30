"""One alert, and how it becomes a rule of Prometheus.

Alert(name, severity, for, expression, summary, description) --rule--> {"alert", "expr", "for", "labels", "annotations"}

Severity says who is woken: `critical` means that callers are failing now or will within the hour, `warning` that somebody should
look at it today. Every alert has a page, docs/runbooks/<name>.md, that says what to do.
"""

from dataclasses import dataclass
from typing import Any, Literal

RUNBOOKS = "docs/runbooks"
"""Where the pages are in the repository; the chart puts an address of your own in front (`monitoring.runbooks`)."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """`name` without the prefix; `lasting`: how long the expression holds before it fires; `summary` and `description` may use
    Prometheus' templates."""

    name: str
    severity: Literal["critical", "warning"]
    lasting: str
    expression: str
    summary: str
    description: str

    @property
    def alert(self) -> str:
        """The name as Prometheus has it."""
        return f"Penstock{self.name}"

    def rule(self) -> dict[str, Any]:
        """For the rule file."""
        return {
            "alert": self.alert,
            "expr": self.expression,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.alert}.md",
            },
        }
