"""Where the API server is and who asks: the pod's service account, or a kubeconfig file.

The service account's token is read anew for every connection, because the kubelet replaces it; so is the kubeconfig's
`tokenFile`. Programs that a kubeconfig would have run for a token (`exec`) are not run: outside of a cluster the operator is for
trying out.
"""

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from penstock.errors import InvalidInput

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API server's address and what it takes to be let in. `namespace`: the pod's own."""

    server: str
    tls: ssl.SSLContext | None
    token_file: Path | None = None
    fixed_token: str = ""
    namespace: str = "default"

    def token(self) -> str:
        """The bearer token now; empty where a certificate says who asks. Raises InvalidInput if its file cannot be read."""
        if self.token_file is None:
            return self.fixed_token
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            raise InvalidInput(f"{self.token_file}: {error.strerror}", field="token") from None


def find_credentials(kubeconfig: Path | None, env: Mapping[str, str], account: Path = ACCOUNT) -> Credentials:
    """Those of a kubeconfig if one is named, else those of the pod. Raises InvalidInput if there are neither, or none usable."""
    if kubeconfig is not None:
        return read_kubeconfig(kubeconfig)
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise InvalidInput("expected a pod of a cluster, or --kubeconfig", field="kubeconfig")
    try:
        tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        namespace = (account / "namespace").read_text().strip()
    except OSError as error:
        raise InvalidInput(f"{account}: {error.strerror}", field="service account") from None
    shown = f"[{host}]" if ":" in host else host
    return Credentials(f"https://{shown}:{port}", tls, account / "token", namespace=namespace)


def read_kubeconfig(path: Path) -> Credentials:
    """The current context of a kubeconfig. Raises InvalidInput naming what is missing."""
    try:
        document = yaml.safe_load(path.read_text())
        context = _named(document, "contexts", document["current-context"])["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user = _named(document, "users", context["user"]).get("user") or {}
        server = str(cluster["server"]).rstrip("/")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", field="kubeconfig") from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path}: not a kubeconfig with a current context: {error}", field="kubeconfig") from None
    if "exec" in user and not {"token", "tokenFile", "client-certificate", "client-certificate-data"} & set(user):
        raise InvalidInput(
            "expected a token or a certificate; programs that fetch one are not run", field="kubeconfig: users.exec"
        )
    token_file = path.parent / user["tokenFile"] if "tokenFile" in user else None
    tls = _tls(cluster, user, path.parent) if server.startswith("https:") else None
    return Credentials(server, tls, token_file, str(user.get("token", "")), str(context.get("namespace", "default")))


def _named(document: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document[part] if one["name"] == name)
    return found


def _tls(cluster: dict[str, Any], user: dict[str, Any], base: Path) -> ssl.SSLContext:
    tls = ssl.create_default_context()
    try:
        if "certificate-authority-data" in cluster:
            tls.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        elif "certificate-authority" in cluster:
            tls.load_verify_locations(cafile=str(base / cluster["certificate-authority"]))
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        if "client-certificate-data" in user:
            with tempfile.TemporaryDirectory() as directory:
                # The ssl module reads a certificate and its key from files only; they are gone after this line.
                certificate, key = Path(directory, "crt"), Path(directory, "key")
                certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
                key.touch(mode=0o600)
                key.write_bytes(base64.b64decode(user["client-key-data"]))
                tls.load_cert_chain(certificate, key)
        elif "client-certificate" in user:
            tls.load_cert_chain(base / user["client-certificate"], base / user["client-key"])
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"certificates cannot be read: {error}", field="kubeconfig") from None
    return tls
