"""What the operator was installed with: images, runtimes, patience. Part of every decision, the same for all models."""

from dataclasses import dataclass

from penstock_operator.runtime_pod import ON_CPU, ON_GPU, RuntimePod


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`silent_s`: a ready transformer pod that gives no answer for this long is evicted; `rejected_s`: a route that a pod refuses
    for this long fails the version; `unready_s`: an unready pod that gives no answer is counted out of the way after this.
    `verify_attempts`: how often a verification is tried that ends without a verdict; `verify_again_s`: between the first two of
    these, twice as long between the next, and `verify_longest_s` at most. `predictor_in_flight`, `transformer_in_flight`:
    requests in flight that a pod is meant to have; 0: such pods are not scaled by them."""

    predictor_image: str = "penstock/predictor:0.1.0"
    predictor_gpu_image: str = "penstock/predictor-gpu:0.1.0"
    transformer_image: str = "penstock/transformer:0.1.0"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    runtime: str = "penstock-predictor"
    gpu_runtime: str = "penstock-predictor-gpu"
    transformer_account: str = "penstock-transformer"
    transformer_replicas: int = 2
    transformer_cpu: str = "200m"
    transformer_memory: str = "1Gi"
    transformer_settings: str = "penstock-transformer-{model}"
    transformer_most: int = 10
    transformer_in_flight: int = 0
    predictor_in_flight: int = 0
    scale_down_s: int = 300
    predictor_pod: RuntimePod = ON_CPU
    predictor_gpu_pod: RuntimePod = ON_GPU
    silent_s: float = 30.0
    rejected_s: float = 60.0
    unready_s: float = 60.0
    verify_attempts: int = 5
    verify_again_s: float = 10.0
    verify_longest_s: float = 80.0
    poll_s: float = 0.5
    idle_s: float = 30.0

    @property
    def scales(self) -> bool:
        """Whether any pods are scaled by their work in flight: only then is there a right to autoscalers."""
        return self.predictor_in_flight > 0 or self.transformer_in_flight > 0
