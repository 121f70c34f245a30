"""A real S3-compatible server for tests: Versity's S3 gateway over a folder, in a subprocess on a port that the kernel chose.

    with S3Server() as s3: os.environ |= s3.environment; open_objects(s3.url("prefix"), …)     s3.kill(), .start() cause faults

Its objects are files (`s3.files`), which a test can look at, change behind its back, or make older.
"""

import shutil
import socket
from pathlib import Path

from penstock.testing.programs import cache_directory
from penstock.testing.servers import Server, ServerMissing

MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
BUCKET = "penstock"
_ACCESS, _SECRET = "penstock-access", "penstock-secret"


class S3Server(Server):
    """One bucket, `penstock`, and one user."""

    name = "s3"

    def __init__(self) -> None:
        built = cache_directory() / "go" / "bin" / "versitygw"
        program = shutil.which("versitygw") or (str(built) if built.exists() else None)
        if program is None:
            raise ServerMissing(f"versitygw is missing: install Go, then GOBIN={built.parent} go install {MODULE}")
        super().__init__()
        self._program = program
        self._root, self._side = self.directory / "buckets", self.directory / "attributes"
        (self._root / BUCKET).mkdir(parents=True)
        self._side.mkdir()

    @property
    def files(self) -> Path:
        """The bucket as a folder."""
        return self._root / BUCKET

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its clients read."""
        return {
            "AWS_ACCESS_KEY_ID": _ACCESS,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{self.host}:{self.port}",
            "AWS_ALLOW_HTTP": "true",
        }

    def url(self, prefix: str) -> str:
        """A place in the bucket."""
        return f"s3://{BUCKET}/{prefix}"

    def command(self) -> list[str]:
        """The gateway over a folder; attributes lie beside it, for file systems that have none."""
        options = ["--port", f"{self.host}:{self.port}", "--access", _ACCESS, "--secret", _SECRET, "--quiet"]
        return [self._program, *options, "posix", "--sidecar", str(self._side), str(self._root)]

    def answers(self) -> bool:
        """It accepts connections once it serves."""
        try:
            with socket.create_connection((self.host, self.port), 1):
                return True
        except OSError:
            return False
