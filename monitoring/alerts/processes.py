"""Alerts on pods: ready, reached, not restarting, and within memory, files, disk and the life of their certificates."""

from monitoring.alerts.alert import Alert

_OURS = 'component=~"transformer|predictor|collocated|worker|relay|sink|updates|operator|serve"'
_POD = "{{ $labels.namespace }}/{{ $labels.pod }}"
_LEFT = "kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes"


def alerts() -> list[Alert]:
    """Of every program."""
    unready = "max by (namespace, inferenceservice, component, pod) (penstock_unready)"
    return [
        Alert(
            name="NoPodReady",
            severity="critical",
            lasting="2m",
            expression=f"min by (namespace, inferenceservice, component) ({unready}) == 1",
            summary="{{ $labels.namespace }}/{{ $labels.inferenceservice }}: no {{ $labels.component }} is ready",
            description="Every pod of it says that it is not ready; nobody is served there.",
        ),
        Alert(
            name="PodNotReady",
            severity="warning",
            lasting="10m",
            expression="max by (namespace, component, pod, check) (penstock_unready) == 1",
            summary=f"{_POD} is not ready: {{{{ $labels.check }}}}",
            description="The check named holds the pod's readiness; its log says why.",
        ),
        Alert(
            name="PodNotScraped",
            severity="warning",
            lasting="5m",
            expression=f"up{{{_OURS}}} == 0",
            summary=f"{_POD} does not answer Prometheus",
            description="Nothing is known of this pod: it hangs, or the network between it and Prometheus is cut.",
        ),
        Alert(
            name="PodRestarts",
            severity="warning",
            lasting="1m",
            expression="max by (namespace, component, pod) (changes(process_start_time_seconds[30m])) > 2\n"
            "and on (namespace, component, pod) penstock_build_info",
            summary=f"{_POD} started {{{{ $value }}}} times in half an hour",
            description="Its process ends again and again: out of memory, or a fault that its log tells of.",
        ),
        Alert(
            name="MemoryNearLimit",
            severity="warning",
            lasting="10m",
            expression="sum by (namespace, component, pod) (process_resident_memory_bytes)\n"
            "/ max by (namespace, component, pod) (penstock_memory_limit_bytes) > 0.9",
            summary=f"{_POD} uses {{{{ $value | humanizePercentage }}}} of its memory",
            description="At the limit the kernel kills it.",
        ),
        Alert(
            name="FilesNearLimit",
            severity="warning",
            lasting="10m",
            expression="max by (namespace, component, pod) (process_open_fds / process_max_fds) > 0.8\n"
            "and on (namespace, component, pod) penstock_build_info",
            summary=f"{_POD} has {{{{ $value | humanizePercentage }}}} of the files open that it may",
            description="Connections count as files: at the limit no caller can connect.",
        ),
        Alert(
            name="DiskNearlyFull",
            severity="warning",
            lasting="15m",
            expression=f"{_LEFT} < 0.1\nand on (namespace) count by (namespace) (penstock_build_info)",
            summary="{{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} has {{ $value | humanizePercentage }} left",
            description="A volume where pods of Penstock run. It holds bundles, a feature store's or predictions' file, or "
            "Kafka's log. The kubelet tells this figure.",
        ),
        Alert(
            name="CertificateEndsSoon",
            severity="warning",
            lasting="1h",
            expression="min by (namespace, component, pod) (penstock_certificate_expiry_timestamp_seconds) - time() < 14 * 86400",
            summary=f"{_POD}: the certificate ends in {{{{ $value | humanizeDuration }}}}",
            description="Callers refuse to connect once it has ended. A new file is taken without a restart.",
        ),
        Alert(
            name="CertificateEnds",
            severity="critical",
            lasting="5m",
            expression="min by (namespace, component, pod) (penstock_certificate_expiry_timestamp_seconds) - time() < 2 * 86400",
            summary=f"{_POD}: the certificate ends in {{{{ $value | humanizeDuration }}}}",
            description="Callers refuse to connect once it has ended. A new file is taken without a restart.",
        ),
    ]
