"""The node: containerd, the kubelet, kube-proxy and CoreDNS, their configuration files and command lines.

Found by trial on plain machines:
- A machine without full privileges may not lower oom_score_adj, and runc then dies with "can't get final child's PID from pipe":
  `restrict_oom_score_adj`.
- Network namespaces of pods under the bed's own folder, CNI's notes too: what is removed with the folder cannot be left behind.
- Kubernetes 1.34 still runs on cgroup v1, if it is told to.
"""

import json

import yaml
from bed.images import PAUSE
from bed.keys import NODE_NAME, PKI, kubeconfig
from bed.network import NODE, PODS
from bed.places import PROGRAMS, RUN

SOCKET = RUN / "containerd.sock"
CNI_NETWORK = "penstock-bed"
_CONTAINERD = f"""\
version = 2
root = "{RUN}/containerd"
state = "{RUN}/containerd-state"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{RUN}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{RUN}/runc"
"""
_COREFILE = f"""\
.:53 {{
  bind {NODE}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig("admin")}
  }}
}}
"""


def write_configuration() -> None:
    """Every file that the node's daemons read."""
    (RUN / "cni").mkdir(parents=True, exist_ok=True)
    (RUN / "cni" / "10-bed.conflist").write_text(json.dumps(_cni()))
    (RUN / "containerd.toml").write_text(_CONTAINERD)
    (RUN / "Corefile").write_text(_COREFILE)
    (RUN / "resolv.conf").write_text(f"nameserver {NODE}\n")
    (RUN / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet()))
    (RUN / "proxy.yaml").write_text(yaml.safe_dump(_proxy()))


def containerd() -> list[str]:
    """Runs containers, through runc."""
    return ["containerd", "--config", f"{RUN}/containerd.toml"]


def kubelet() -> list[str]:
    """Makes pods of what the API server says."""
    return [
        f"{PROGRAMS}/kubelet", f"--config={RUN}/kubelet.yaml", f"--kubeconfig={kubeconfig('kubelet')}",
        f"--hostname-override={NODE_NAME}", f"--node-ip={NODE}", f"--root-dir={RUN}/kubelet", "--v=1",
    ]  # fmt: skip


def proxy() -> list[str]:
    """Makes Services' addresses work."""
    return [f"{PROGRAMS}/kube-proxy", f"--config={RUN}/proxy.yaml"]


def coredns() -> list[str]:
    """Makes Services' names work. It runs beside the pods, on the node's own address."""
    return [f"{PROGRAMS}/coredns", "-conf", f"{RUN}/Corefile"]


def _cni() -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": PODS.replace("/18", "/24")}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{RUN}/cni-addresses",
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": CNI_NETWORK, "plugins": [bridge, ports]}


def _kubelet() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [NODE],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "tlsCertFile": f"{PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
        # A developer's disk is often nearly full, and nothing here may be evicted for it.
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{RUN}/pod-logs",
        "resolvConf": f"{RUN}/resolv.conf",
        # Its default of a minute would be most of a rollout's time.
        "configMapAndSecretChangeDetectionStrategy": "Watch",
    }


def _proxy() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig("admin"))},
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": PODS,
        "conntrack": {"maxPerCore": 0},
    }
