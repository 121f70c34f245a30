"""Who is who in the cluster: the certificates of its daemons and their kubeconfigs."""

import base64
from pathlib import Path

import yaml
from bed.authority import Authority
from bed.network import API_SERVICE, NODE
from bed.places import KUBECONFIG, RUN

NODE_NAME = "bed"
PKI = RUN / "pki"
_CLIENTS = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
}


def make_keys() -> None:
    """Authority, the API server's certificate, the service accounts' key, a certificate and a kubeconfig for every client."""
    authority = Authority(PKI)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"]
    authority.issue("apiserver", "kube-apiserver", hosts=[NODE, "127.0.0.1", API_SERVICE, *names])
    authority.issue_key_pair("accounts")
    for file, (name, organisation) in _CLIENTS.items():
        authority.issue(file, name, organisation=organisation, hosts=[NODE_NAME, NODE] if file == "kubelet" else [])
        kubeconfig(file).write_text(_kubeconfig(file))
        kubeconfig(file).chmod(0o600)


def kubeconfig(client: str) -> Path:
    """The kubeconfig of one of them."""
    return KUBECONFIG if client == "admin" else RUN / f"{client}.kubeconfig"


def _kubeconfig(client: str) -> str:
    def encoded(file: str) -> str:
        return base64.b64encode((PKI / file).read_bytes()).decode()

    cluster = {"server": f"https://{NODE}:6443", "certificate-authority-data": encoded("ca.crt")}
    user = {"client-certificate-data": encoded(f"{client}.crt"), "client-key-data": encoded(f"{client}.key")}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "penstock-bed", "cluster": cluster}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "penstock-bed", "context": {"cluster": "penstock-bed", "user": client}}],
            "current-context": "penstock-bed",
        }
    )
