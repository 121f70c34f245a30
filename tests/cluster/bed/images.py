"""Images: what the cluster itself runs, what runs beside Penstock, and Penstock's own, built without any registry.

Own images are built by the script of `make images` from the project's real Dockerfiles, the others from a few lines here.
PENSTOCK_IMAGES=kept takes Penstock's own as the last build left them.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bed import engine
from bed.builder import KSERVE_VERSION, MANAGER, kserve_module
from bed.command import run
from bed.places import ARCHIVES, PROGRAMS, ROOT
from bed.trouble import BedError

from penstock.testing.s3 import MODULE as VERSITYGW

PAUSE = "localhost/penstock-bed/pause:3"
CONTROLLER = f"localhost/penstock-bed/kserve-controller:{KSERVE_VERSION}"
STORAGE = f"localhost/penstock-bed/storage-initializer:{KSERVE_VERSION}"
REDIS = "localhost/penstock-bed/redis:7"
POSTGRES = "localhost/penstock-bed/postgres:1"
S3 = "localhost/penstock-bed/s3:1"
OWN = ("predictor", "transformer", "operator")
CHOICE = "PENSTOCK_IMAGES"
_DIGITS = 12
_PAUSE_SOURCE = """\
#include <signal.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
int main(void) { signal(SIGINT, end); signal(SIGTERM, end); for (;;) pause(); }
"""
# Debian 12's Python is a little older than that of KServe's own image, which unpacks archives with `filter="data"`.
_UNPACKING = """\
import tarfile

if not hasattr(tarfile, "data_filter"):
    _extractall = tarfile.TarFile.extractall

    def extractall(self, path=".", members=None, *, numeric_owner=False, filter=None):
        return _extractall(self, path, members, numeric_owner=numeric_owner)

    tarfile.TarFile.extractall = extractall
"""
_APT = "RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {}"


def build(tag: str) -> str:
    """One of the images above, unless it is there and of this recipe; its tag. Raises BedError."""
    note = ARCHIVES / f"{_file_name(tag)}.recipe"
    with tempfile.TemporaryDirectory(prefix="penstock-image-") as folder:
        recipe = _dockerfile(tag, Path(folder))
        if not engine.identify(tag) or not note.exists() or note.read_text() != recipe:
            (Path(folder) / "Dockerfile").write_text(recipe)
            engine.build(tag, Path(folder))
            ARCHIVES.mkdir(parents=True, exist_ok=True)
            note.write_text(recipe)
    return tag


def members() -> list[str]:
    """Those of Penstock's members that have an image."""
    return [member for member in OWN if (ROOT / member / "Dockerfile").exists()]


def name_own(member: str) -> str:
    """What a pod calls a member's image, its registry spelled out."""
    lines = (ROOT / "core/pyproject.toml").read_text().splitlines()
    version = next(line.split('"')[1] for line in lines if line.startswith("version"))
    return f"docker.io/penstock/{member}:{version}"


def build_own() -> dict[str, str]:
    """Penstock's images by member's name, built of this tree, from the real Dockerfiles. Raises BedError."""
    if os.environ.get(CHOICE) == "kept":
        if missing := [member for member in members() if not engine.identify(name_own(member))]:
            raise BedError(f"{CHOICE}=kept, and no image was ever built of {', '.join(missing)}")
        return {member: name_own(member) for member in members()}
    run([ROOT / "tools" / "build_images.sh", engine.base(), *members()], timeout_s=1800)
    return {member: name_own(member) for member in members()}


def build_feast() -> str:
    """The transformer's image with pyarrow and the Feast SDK, in which the chart runs the log's sink and the retrain trigger; too
    large to be loaded for every run. Raises BedError."""
    tag = f"{name_own('transformer')}-feast"
    if os.environ.get(CHOICE) != "kept" or not engine.identify(tag):
        run([ROOT / "tools" / "build_images.sh", engine.base(), "transformer-feast"], timeout_s=1800)
    return tag


def archive(tag: str) -> Path:
    """The image as a file, made anew if the image changed. Who asks for it at the same time waits, and gets the same file."""
    name = _file_name(tag)
    with _alone(name):
        file = ARCHIVES / f"{name}-{engine.identify(tag)[:_DIGITS]}.tar"
        if not file.exists():
            # Whole ids alone: `…0.1.0-*` would be those of `…0.1.0-feast`, too.
            for old in ARCHIVES.glob(f"{name}-{'?' * _DIGITS}.*"):
                old.unlink()
            partial = file.with_suffix(".partial")
            engine.save(tag, partial)
            partial.rename(file)
    return file


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Between processes, for one image: the kernel lets go of the lock of one that died."""
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    with (ARCHIVES / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _file_name(tag: str) -> str:
    return tag.replace("/", "_").replace(":", "_")


def _dockerfile(tag: str, folder: Path) -> str:
    """Its Dockerfile; what that copies is put into the folder."""
    if tag == PAUSE:
        (folder / "pause.c").write_text(_PAUSE_SOURCE)
        run(["gcc", "-Os", "-static", "-o", folder / "pause", folder / "pause.c"])
        return 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n'
    if tag == CONTROLLER:
        shutil.copy(PROGRAMS / MANAGER, folder / "manager")
        return 'FROM scratch\nCOPY manager /manager\nUSER 65532\nENTRYPOINT ["/manager"]\n'
    if tag == STORAGE:
        return _storage(folder)
    if tag == S3:
        return _s3(folder)
    if tag == REDIS:
        start = 'ENTRYPOINT ["redis-server", "--save", "", "--protected-mode", "no"]'
        return f"FROM {engine.base()}\n{_APT.format('redis-server')}\nUSER 65532\nWORKDIR /tmp\n{start}\n"
    if tag == POSTGRES:
        # It asks who it is by name, and what nobody has a name for it refuses.
        user = "RUN echo penstock:x:65532:65532::/tmp:/bin/sh >> /etc/passwd"
        return f"FROM {engine.base()}\n{_APT.format('postgresql')}\n{user}\nUSER 65532\nWORKDIR /tmp\n"
    raise BedError(f"no recipe for {tag}")


def _storage(folder: Path) -> str:
    """What fetches `s3://` and `https://` bundles before a predictor starts: KServe's own, without the other clouds' clients."""
    script = kserve_module() / "python" / "storage-initializer" / "scripts" / "initializer-entrypoint"
    (folder / "initializer-entrypoint").write_bytes(script.read_bytes())
    (folder / "older_tarfile.py").write_text(_UNPACKING)
    (folder / "older_tarfile.pth").write_text("import older_tarfile\n")
    pip = "/opt/storage/bin/pip install --quiet"
    packages = f"{pip} --no-deps kserve-storage=={KSERVE_VERSION} && {pip} requests boto3 PyYAML"
    return (
        f"FROM {engine.base()}\nRUN python3 -m venv /opt/storage && {packages}\n"
        "COPY older_tarfile.py older_tarfile.pth /tmp/\n"
        "RUN mv /tmp/older_tarfile.* /opt/storage/lib/python3.*/site-packages/\n"
        "COPY --chmod=755 initializer-entrypoint /initializer-entrypoint\n"
        'ENV PATH=/opt/storage/bin:/usr/bin:/bin\nUSER 1000\nWORKDIR /tmp\nENTRYPOINT ["/initializer-entrypoint"]\n'
    )


def _s3(folder: Path) -> str:
    """Versity's gateway, as tools/get_judges.py builds it."""
    run(["go", "install", VERSITYGW], environment={"GOBIN": str(folder), "CGO_ENABLED": "0"}, timeout_s=1800)
    return 'FROM scratch\nCOPY versitygw /versitygw\nUSER 65532\nENTRYPOINT ["/versitygw"]\n'
