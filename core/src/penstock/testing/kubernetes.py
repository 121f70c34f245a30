"""A real Kubernetes API for tests: etcd and kube-apiserver, without any controller or node, on ports that the kernel chose.

    with KubernetesServer() as kubernetes:
        kubernetes.request("POST", "/api/v1/namespaces", {"metadata": {"name": "flights"}})
        account = kubernetes.account("flights", "reader", [rule])    a directory as a pod mounts it: token, ca.crt, namespace
        kubernetes.kill(), .start(), .pause(), .resume()             the API server's faults; what it holds outlives them

Objects are what was written: no Service gets EndpointSlices, no Deployment gets pods. Whoever needs those starts a cluster.
"""

import http.client
import secrets
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.testing.certificates import Authority
from penstock.testing.programs import cache_directory
from penstock.testing.servers import Server, ServerMissing, free_port
from penstock.testing.waiting import until

REQUEST_S = 30.0
DEFINED_S = 60.0
_JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ApiStatus(Exception):
    """The API server answered with another status than 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def kubernetes_program(name: str) -> str:
    """The path of one of Kubernetes' programs, as `make cluster-up` builds them, or of the PATH. Raises ServerMissing."""
    built = cache_directory() / "kube" / "bin" / name
    found = str(built) if built.exists() else shutil.which(name)
    if found is None:
        raise ServerMissing(f"{name} is missing: make cluster-up builds it into {built.parent}")
    return found


class EtcdServer(Server):
    """One etcd, in clear text, that does not wait for its disk."""

    name = "etcd"

    def __init__(self) -> None:
        self._program = kubernetes_program("etcd")
        super().__init__()
        self._peer_port = free_port()

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://{self.host}:{self.port}"

    def command(self) -> list[str]:
        """etcd over a directory of its own."""
        peer = f"http://{self.host}:{self._peer_port}"
        urls = ["--listen-client-urls", self.url, "--advertise-client-urls", self.url, "--listen-peer-urls", peer]
        urls += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        return [self._program, "--data-dir", str(self.directory / "data"), *urls, "--unsafe-no-fsync", "--log-level", "warn"]

    def answers(self) -> bool:
        """It is healthy once it is its own leader."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class KubernetesServer(Server):
    """kube-apiserver with TLS and RBAC over an etcd of its own. `admin_token` may do everything."""

    name = "kubernetes"
    start_s = 120.0

    def __init__(self) -> None:
        self._program = kubernetes_program("kube-apiserver")
        self.etcd = EtcdServer()
        super().__init__()
        self.admin_token = secrets.token_hex(16)
        authority = Authority("kubernetes")
        self._pair = authority.issue(self.directory, "server")
        self.ca = authority.write(self.directory / "ca.pem")
        self._keys = self.directory / "accounts.key"
        self._keys.write_bytes(_private_key())
        (self.directory / "tokens.csv").write_text(f'{self.admin_token},admin,admin,"system:masters"\n')
        self._context = ssl.create_default_context(cafile=str(self.ca))

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"https://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a pod finds in its environment."""
        return {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def start(self) -> Self:
        """Start etcd, if it does not run, and the API server."""
        if not self.etcd.running:
            self.etcd.start()
        return super().start()

    def command(self) -> list[str]:
        """kube-apiserver, configured by arguments alone."""
        return [
            self._program,
            f"--etcd-servers={self.etcd.url}",
            f"--secure-port={self.port}",
            f"--bind-address={self.host}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self._pair.cert}",
            f"--tls-private-key-file={self._pair.key}",
            f"--service-account-key-file={self._keys}",
            f"--service-account-signing-key-file={self._keys}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            # Nobody makes the accounts that it asks pods for.
            "--disable-admission-plugins=ServiceAccount",
        ]

    def answers(self) -> bool:
        """It says that it is ready."""
        try:
            self.send("GET", "/readyz", timeout_s=2)
        except (OSError, ApiStatus):
            return False
        return True

    def close(self) -> None:
        """End both, and remove what they hold."""
        super().close()
        self.etcd.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: str = _JSON,
        accept: str = _JSON,
        token: str | None = None,
        timeout_s: float = REQUEST_S,
    ) -> bytes:
        """What the API answers, as the administrator or as whose `token` it is. Raises ApiStatus, OSError."""
        headers = {"Authorization": f"Bearer {token or self.admin_token}", "Content-Type": kind, "Accept": accept}
        request = urllib.request.Request(f"{self.url}{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s, context=self._context) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise ApiStatus(error.code, error.read(2000).decode(errors="replace")) from None
        except http.client.HTTPException as error:
            # It went away in the middle of an answer.
            raise ConnectionError(str(error)) from error

    def request(self, method: str, path: str, document: Mapping[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        """The same for documents; `given` as for `send`."""
        body = None if document is None else orjson.dumps(document)
        found: dict[str, Any] = orjson.loads(self.send(method, path, body, **given))
        return found

    def apply(self, path: str, document: Mapping[str, Any], *, manager: str = "test") -> dict[str, Any]:
        """Write an object by server-side apply, as the field manager `manager`, whoever held its fields before."""
        return self.request("PATCH", f"{path}?fieldManager={manager}&force=true", document, kind=APPLY)

    def define(self, *definitions: Mapping[str, Any]) -> None:
        """Make CustomResourceDefinitions; returns when their resources are served."""
        for definition in definitions:
            self.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        for definition in definitions:
            spec = definition["spec"]
            resource = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            until(partial(self._serves, resource), DEFINED_S, f"{resource} is served")

    def _serves(self, path: str) -> bool:
        try:
            self.request("GET", path)
        except ApiStatus:
            return False
        return True

    def kubeconfig(self, namespace: str, token: str | None = None, *, url: str | None = None) -> dict[str, Any]:
        """A kubeconfig whose one context, `test`, is that namespace: of the administrator, or of whose `token` it is; `url`
        another place than where this server is."""
        cluster = {"server": url or self.url, "certificate-authority": str(self.ca)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token or self.admin_token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        }

    def namespace(self, name: str) -> str:
        """Make a namespace; its name."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def account(self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]]) -> Path:
        """Make a service account that may do what a Role's `rules` say; the directory that a pod would have mounted."""
        self.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
        self.allow(namespace, name, rules)
        access = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        group = "rbac.authorization.k8s.io"
        role = {"apiGroup": group, "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        self.request("POST", access, {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})
        directory = self.directory / "accounts" / namespace / name
        directory.mkdir(parents=True)
        shutil.copy(self.ca, directory / "ca.crt")
        (directory / "namespace").write_text(namespace)
        (directory / "token").write_text(self.token(namespace, name))
        return directory

    def allow(self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]]) -> None:
        """Give a service account these rights, and no others than these."""
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{name}"
        kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
        self.apply(path, {**kind, "metadata": {"name": name}, "rules": list(rules)})

    def token(self, namespace: str, name: str) -> str:
        """A new token of a service account, good for an hour."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        found = self.request("POST", path, {**kind, "spec": {"expirationSeconds": 3600}})
        return str(found["status"]["token"])


def _private_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
