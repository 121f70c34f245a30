"""What builds images: docker where its engine answers, else buildah. The same choice as tools/build_images.sh makes."""

import functools
import os
from pathlib import Path

from bed.command import run, succeeds
from bed.trouble import BedError

from penstock.testing.base_image import BUILDAH, base_image
from penstock.testing.programs import ProgramMissing

PULLED_BASE = "docker.io/library/python:3.12-slim-bookworm"


@functools.cache
def uses_docker() -> bool:
    """Whether docker's engine answers."""
    return succeeds(["docker", "info"])


def base() -> str:
    """The base of every Dockerfile: BASE_IMAGE, else with docker a pulled one, with buildah our own. Raises BedError."""
    given = os.environ.get("BASE_IMAGE")
    if given or uses_docker():
        return given or PULLED_BASE
    try:
        return base_image()
    except ProgramMissing as missing:
        raise BedError(f"images: {missing}") from None


def build(tag: str, folder: Path) -> None:
    """An image of a folder with a Dockerfile."""
    if uses_docker():
        run(["docker", "build", "--quiet", "--tag", tag, folder], timeout_s=1200)
    else:
        run([*BUILDAH, "bud", "--quiet", "--isolation", "chroot", "--tag", tag, folder], timeout_s=1200)


def identify(tag: str) -> str:
    """The image's id, which another content changes; empty if there is none."""
    command = ["docker", "images"] if uses_docker() else [*BUILDAH, "images"]
    found = run([*command, "--no-trunc", "--quiet", "--filter", f"reference={_local(tag)}"]).split()
    return found[0].removeprefix("sha256:") if found else ""


def save(tag: str, file: Path) -> None:
    """The image as an archive that containerd, docker and kind load, under `tag`."""
    if uses_docker():
        run(["docker", "save", "--output", file, _local(tag)])
    else:
        # Not an OCI archive: that one is compressed, which takes longer than everything else.
        run([*BUILDAH, "push", "--quiet", _local(tag), f"docker-archive:{file}:{tag}"])


def rename(tag: str, name: str) -> None:
    """The image under another name, too."""
    command = ["docker"] if uses_docker() else BUILDAH
    run([*command, "tag", _local(tag), _local(name)])


def _local(tag: str) -> str:
    """What the engine calls it: a name without a registry is docker's own, and buildah's localhost."""
    return tag.removeprefix("docker.io/") if uses_docker() else tag.replace("docker.io/", "localhost/")
