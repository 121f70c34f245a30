"""The settings of the route: where it comes from, where it is kept, and when a pod that lags is not ready."""

from dataclasses import dataclass
from pathlib import Path

from penstock.settings import setting
from penstock_transformer.kube_api import ACCOUNT, KubeApi

AUTO, NONE = "auto", "none"


@dataclass(frozen=True, kw_only=True)
class RouteSettings:
    """Which bundles get requests."""

    route_file: Path | None = setting(None, "File that says which bundles get requests, instead of a ConfigMap.")  # noqa: RUF009
    route_poll_s: float = setting(1.0, "How often the route file is looked at.", unit="s")
    route_configmap: str = setting(
        AUTO,
        "ConfigMap of the pod's namespace with the route. auto: penstock-route-<model_name>, where the pod may read it; none; "
        "or a name. As long as there is none, the one predictor is followed.",
    )
    route_cache: Path | None = setting(  # noqa: RUF009
        None, "Directory that keeps the ConfigMap's last route, for a start while the API server is away."
    )
    route_confirm_s: float = setting(
        4.0, "How often the API server is asked whether the route is still the newest, beside the watch.", unit="s", least=0.05
    )
    route_lag_s: float = setting(
        10.0,
        "A pod that is so long behind the revision that most pods apply is not ready; 0 switches that off.",
        unit="s",
    )

    service_account: Path = setting(  # noqa: RUF009
        ACCOUNT, "Directory with the token, certificate and namespace that this pod reads the Kubernetes API with."
    )

    def api(self) -> KubeApi | None:
        """The API server of the cluster that this process runs in; None outside of one."""
        return KubeApi.of_this_pod(account=self.service_account)

    def check_route(self, predictor_host: str) -> None:
        """Raises ValueError unless the settings say where predictions come from, and only once."""
        named = self.route_configmap not in (AUTO, NONE)
        if named and self.route_file is not None:
            raise ValueError("expected --route_file or --route_configmap: two routes cannot both be followed")
        if not predictor_host and self.route_file is None and not named:
            raise ValueError(
                "expected --predictor_host, --route_file or --route_configmap NAME: without any nobody makes the predictions"
            )
