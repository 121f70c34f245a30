"""The operator's settings: environment prefix `PENSTOCK_OPERATOR`."""

import socket
from dataclasses import dataclass
from pathlib import Path

from penstock.settings import setting
from penstock_operator.policy import Policy
from penstock_operator.runtime_pod import ON_CPU, ON_GPU, read_runtime_pod, write_runtime_pod

PREFIX = "PENSTOCK_OPERATOR"


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """Everything that `penstock-operator` takes."""

    namespaces: tuple[str, ...] = setting((), "Namespaces whose ModelVersions it looks after, comma-separated; none: all.")
    kubeconfig: Path | None = setting(None, "File that says where the API server is; without it: the pod's service account.")  # noqa: RUF009
    lease_namespace: str = setting("", "Namespace of the lease; empty for the pod's own.")
    lease_name: str = setting("penstock-operator", "Name of the lease: of all operators that share it one acts.")
    lease_s: float = setting(10.0, "A lease that is not renewed for this long is free.", unit="s", least=1.0)
    identity: str = setting("", "Name of this operator in the lease; empty for the host's, which is the pod's.")
    http_port: int = setting(8080, "Port of /healthz and /readyz.")
    admin_port: int = setting(9090, "Port of /metrics.")
    log_level: str = setting("info", "What is logged.", choices=("debug", "info", "warning", "error"))
    predictor_image: str = setting("penstock/predictor:0.1.0", "Image that verifies a bundle.")
    predictor_gpu_image: str = setting("penstock/predictor-gpu:0.1.0", "Image that verifies a bundle that runs on a GPU.")
    transformer_image: str = setting("penstock/transformer:0.1.0", "Image of a transformer that the operator starts.")
    image_pull_policy: str = setting("IfNotPresent", "Of these images.", choices=("Always", "IfNotPresent", "Never"))
    image_pull_secrets: tuple[str, ...] = setting(
        (), "Secrets that verifications, and transformers that the operator starts, pull their images with, comma-separated."
    )
    runtime: str = setting("penstock-predictor", "Serving runtime of predictors on CPUs.")
    gpu_runtime: str = setting("penstock-predictor-gpu", "Serving runtime of predictors on a GPU.")
    transformer_account: str = setting("penstock-transformer", "Service account of a transformer that the operator starts.")
    transformer_replicas: int = setting(2, "Pods of a transformer that the operator starts.", least=1)
    transformer_cpu: str = setting("200m", "CPU that such a pod asks for; it gets up to 2.")
    transformer_memory: str = setting("1Gi", "Memory limit of such a pod.")
    transformer_settings: str = setting(
        "penstock-transformer-{model}",
        "Name of a ConfigMap and of a Secret in the model's namespace whose keys are environment variables of such a pod, "
        "PENSTOCK_TRANSFORMER_FEATURE_STORE for one; neither has to be there. Empty: none.",
    )
    transformer_most: int = setting(10, "Most pods of such a transformer, where transformer_in_flight is set.", least=1)
    transformer_in_flight: int = setting(
        0, "Requests in flight that such a pod is meant to have, by which their number follows; 0: it stays."
    )
    predictor_in_flight: int = setting(
        0,
        "Requests in flight that a pod of a ModelVersion is meant to have, by which their number follows between replicas.min "
        "and .max; 0: KServe scales them, by CPU.",
    )
    scale_down_s: int = setting(300, "Such pods go once fewer have been enough for so long.", unit="s", most=3600)
    predictor_pod: str = setting(
        write_runtime_pod(ON_CPU),
        "What the serving runtime on CPUs gives its pods, and so a verification: JSON with resources, nodeSelector, tolerations, "
        "affinity.",
    )
    predictor_gpu_pod: str = setting(write_runtime_pod(ON_GPU), "The same of the serving runtime on a GPU.")
    transformer_admin_port: int = setting(9090, "Port on which transformers are asked which route they apply.")
    log_sinks: tuple[str, ...] = setting(
        (), "URLs of the admin ports of prediction logs' sinks, comma-separated, which know of outcomes; none: rollouts do not."
    )
    silent_s: float = setting(30.0, "A transformer pod that gives no answer for this long is evicted.", unit="s", least=1.0)
    rejected_s: float = setting(60.0, "A version whose route transformers refuse for this long has failed.", unit="s")
    idle_s: float = setting(30.0, "A model of which nothing is heard is looked at this often.", unit="s", least=1.0)

    def __post_init__(self) -> None:
        for name in ("predictor_pod", "predictor_gpu_pod"):
            try:
                read_runtime_pod(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"--{name}: {error}") from None

    def policy(self) -> Policy:
        """The part that decisions need."""
        return Policy(
            predictor_image=self.predictor_image,
            predictor_gpu_image=self.predictor_gpu_image,
            transformer_image=self.transformer_image,
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=self.image_pull_secrets,
            runtime=self.runtime,
            gpu_runtime=self.gpu_runtime,
            transformer_account=self.transformer_account,
            transformer_replicas=self.transformer_replicas,
            transformer_cpu=self.transformer_cpu,
            transformer_memory=self.transformer_memory,
            transformer_settings=self.transformer_settings,
            transformer_most=self.transformer_most,
            transformer_in_flight=self.transformer_in_flight,
            predictor_in_flight=self.predictor_in_flight,
            scale_down_s=self.scale_down_s,
            predictor_pod=read_runtime_pod(self.predictor_pod),
            predictor_gpu_pod=read_runtime_pod(self.predictor_gpu_pod),
            silent_s=self.silent_s,
            rejected_s=self.rejected_s,
            idle_s=self.idle_s,
        )

    def name(self) -> str:
        """This operator's name in the lease."""
        return self.identity or socket.gethostname()
