"""etcd, the API server, the controller manager and the scheduler: their command lines."""

from bed.keys import PKI, kubeconfig
from bed.network import NODE, PODS, SERVICES
from bed.places import PROGRAMS, RUN

_ETCD = "http://127.0.0.1:2379"


def etcd() -> list[str]:
    """The store. It need not survive the machine's own crash."""
    return [
        f"{PROGRAMS}/etcd", f"--data-dir={RUN}/etcd", f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn",
    ]  # fmt: skip


def api_server() -> list[str]:
    """What everything talks to. Its kubelet client is the administrator."""
    return [
        f"{PROGRAMS}/kube-apiserver", f"--etcd-servers={_ETCD}", "--secure-port=6443", f"--advertise-address={NODE}",
        f"--client-ca-file={PKI}/ca.crt", f"--tls-cert-file={PKI}/apiserver.crt", f"--tls-private-key-file={PKI}/apiserver.key",
        f"--service-account-key-file={PKI}/accounts.pub", f"--service-account-signing-key-file={PKI}/accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC", "--allow-privileged", "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={PKI}/admin.crt", f"--kubelet-client-key={PKI}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
    ]  # fmt: skip


def controllers() -> list[str]:
    """Deployments, jobs, endpoints, garbage collection and all the others."""
    return [
        f"{PROGRAMS}/kube-controller-manager", f"--kubeconfig={kubeconfig('controllers')}", "--leader-elect=false",
        f"--service-account-private-key-file={PKI}/accounts.key", f"--root-ca-file={PKI}/ca.crt",
        "--use-service-account-credentials", f"--cluster-cidr={PODS}", "--allocate-node-cidrs",
        f"--cluster-signing-cert-file={PKI}/ca.crt", f"--cluster-signing-key-file={PKI}/ca.key",
    ]  # fmt: skip


def scheduler() -> list[str]:
    """Puts pods on the node."""
    return [f"{PROGRAMS}/kube-scheduler", f"--kubeconfig={kubeconfig('scheduler')}", "--leader-elect=false"]
