"""A base image of Debian and its Python for tests that build images: made once with debootstrap, so that no registry is asked.

base_image() -> "localhost/penstock-base:bookworm"         BUILDAH is how buildah is started everywhere
"""

import os
import shutil
import subprocess
from pathlib import Path

from penstock.testing.programs import ProgramMissing, cache_directory

BASE_IMAGE = "localhost/penstock-base:bookworm"
BUILDAH = ("buildah", "--storage-driver", "overlay")
AUTHORITIES = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
_TOOLS = ("buildah", "debootstrap", "runc")
_DOCKERFILE = """FROM scratch
ADD rootfs /
COPY authorities.crt /etc/ssl/certs/ca-certificates.crt
ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
"""


def base_image() -> str:
    """The base's tag in buildah's own store; its root file system is cached outside the tree. Raises ProgramMissing."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        raise ProgramMissing(f"needs root and Debian's {' '.join(missing or _TOOLS)}: apt-get install them")
    cache = cache_directory() / "base"
    if not (cache / "done").exists():
        cache.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(cache / "rootfs", ignore_errors=True)
        include = "--include=python3,python3-venv,ca-certificates"
        made = ["debootstrap", "--variant=minbase", include, "bookworm", str(cache / "rootfs")]
        subprocess.run(made, check=True, capture_output=True)
        (cache / "done").touch()
    # The build fetches packages as this machine does: by its authorities, which may be a company's own.
    shutil.copyfile(AUTHORITIES, cache / "authorities.crt")
    (cache / "Dockerfile").write_text(_DOCKERFILE)
    if subprocess.run([*BUILDAH, "inspect", "--type", "image", BASE_IMAGE], capture_output=True, check=False).returncode:
        subprocess.run([*BUILDAH, "bud", "--quiet", "--isolation", "chroot", "--tag", BASE_IMAGE, str(cache)], check=True)
    return BASE_IMAGE
