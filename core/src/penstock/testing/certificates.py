"""Certificates for tests of TLS: an authority of one's own, and what it signs, as PEM files in the layouts that programs meet.

ca = Authority("one"); pair = ca.issue(folder, "server")         pair.cert, pair.key, ca.write(folder / "ca.pem")
mount = SecretMount(folder); mount.put(ca.issue_bytes("server"))  a secret as Kubernetes mounts it, swapped whole
"""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NAMES: tuple[x509.GeneralName, ...] = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
)


@dataclass(frozen=True)
class Pair:
    """A certificate's file and its key's."""

    cert: Path
    key: Path


class Authority:
    """An authority that lasts for an hour. `serial` of what it issues tells one certificate from the next."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def write(self, path: Path) -> Path:
        """The authority's own certificate, for those who shall believe it."""
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def issue_bytes(self, name: str, host: str | None = None) -> tuple[bytes, bytes]:
        """A certificate and its key, PEM: for this machine's own names, or for `host`."""
        names = _NAMES if host is None else (x509.DNSName(host),)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(name), self._name, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(serialization.Encoding.PEM), private

    def issue(self, folder: Path, name: str, host: str | None = None) -> Pair:
        """The same as two files."""
        pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        for path, content in zip((pair.cert, pair.key), self.issue_bytes(name, host), strict=True):
            path.write_bytes(content)
        return pair


class SecretMount:
    """A mounted secret: files are links through `..data`, which a new content replaces in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0

    def put(self, files: dict[str, bytes]) -> None:
        """A new content of the secret."""
        self._version += 1
        version = self.folder / f"..version-{self._version}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        temporary = self.folder / "..data_tmp"
        temporary.symlink_to(version.name)
        os.replace(temporary, self.folder / "..data")


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )
