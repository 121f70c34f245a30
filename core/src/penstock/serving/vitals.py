"""What every program says of itself when it is scraped: whether it is ready, its release, its memory's limit, its certificate.

    the program's checks (Lifecycle.looks), cgroups, the certificate's file --families--> Metrics.add_source

Of several workers the largest value is shown, which is the worst one: hence `unready`, and not `ready`.
"""

import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from penstock import __version__
from penstock.memory import machine_bytes, memory_limit_bytes
from penstock.serving.security.expiry import expiry_s


class Vitals:
    """The families of one process. `looks`: why each check holds readiness, or None; `certificate`: the file of its ports'
    certificate, if they have one."""

    def __init__(self, looks: Callable[[], Mapping[str, str | None]], certificate: Path | None = None) -> None:
        self._looks = looks
        self._certificate = certificate
        self._limit_bytes = memory_limit_bytes() or machine_bytes()

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        yield self._unready()
        build = GaugeMetricFamily("penstock_build_info", "Always 1; the release and its Python.", labels=("version", "python"))
        build.add_metric((__version__, platform.python_version()), 1)
        yield build
        text = "Memory that the container may use, by its cgroup; that of the machine where there is no limit."
        yield GaugeMetricFamily("penstock_memory_limit_bytes", text, self._limit_bytes)
        ends = self._certificate_ends()
        if ends is not None:
            text = "When the certificate of the ports ends, in seconds since the epoch."
            yield GaugeMetricFamily("penstock_certificate_expiry_timestamp_seconds", text, ends)

    def collect(self) -> Iterable[Metric]:
        """For a prometheus_client registry of its own."""
        return self.families()

    def _unready(self) -> Metric:
        family = GaugeMetricFamily(
            "penstock_unready", "Whether this check keeps the process from being ready (1).", labels=("check",)
        )
        # Checks are asked in any state, and there are as many as the program has registered.
        for check, reason in self._looks().items():
            family.add_metric((check,), reason is not None)
        return family

    def _certificate_ends(self) -> float | None:
        if self._certificate is None:
            return None
        try:
            return expiry_s(self._certificate.read_text())
        except (OSError, ValueError):
            return None
