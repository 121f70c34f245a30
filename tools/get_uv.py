"""Puts uv at the path given as the only argument, with nothing but Python's standard library. Called by the Makefile.

Many Pythons come without pip or venv (Debian's, for one), so the wheel is read straight from the package index, which is the
one that pip's and uv's own settings name, and its SHA-256 is held to `requirements/uv.txt` before a byte of it is run.
"""

import configparser
import hashlib
import io
import os
import platform
import re
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements" / "uv.txt"
PUBLIC_INDEX = "https://pypi.org/simple"
PIP_SETTINGS = ("~/.config/pip/pip.conf", "~/.pip/pip.conf", "/etc/pip.conf")


def read_lock() -> tuple[str, set[str]]:
    """The pinned version and the SHA-256 of every wheel that may be used."""
    text = LOCK.read_text()
    version = re.search(r"^uv==([\d.]+)", text, re.MULTILINE)
    if version is None:
        sys.exit(f"{LOCK}: no line 'uv==VERSION'")
    return version[1], set(re.findall(r"sha256:([0-9a-f]{64})", text))


def find_index() -> str:
    """The package index that the user's own settings name, or the public one."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(variable):
            return os.environ[variable].rstrip("/")
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(Path(path).expanduser() for path in (os.environ.get("PIP_CONFIG_FILE", ""), *PIP_SETTINGS) if path)
    return settings.get("global", "index-url", fallback=PUBLIC_INDEX).rstrip("/")


def fits(wheel: str) -> bool:
    """Whether a wheel's file name is for this machine."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "darwin":
        return "macosx" in wheel and ("arm64" if machine == "aarch64" else machine) in wheel
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return libc in wheel and wheel.endswith(f"_{machine}.whl")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=120) as answer:
        return bytes(answer.read())


def main() -> None:
    target = Path(sys.argv[1])
    if target.exists():
        return
    version, hashes = read_lock()
    page_url = f"{find_index()}/uv/"
    print(f"getting uv {version}", flush=True)
    page = fetch(page_url).decode()
    links = [urllib.parse.urljoin(page_url, link) for link in re.findall(r'href="([^"]+)"', page)]
    wheels = [link for link in links if f"/uv-{version}-" in link and fits(link.split("#")[0].split("?")[0])]
    if not wheels:
        sys.exit(f"no wheel of uv {version} for {platform.machine()} on {sys.platform}; install uv by hand and try again")
    wheel = fetch(wheels[0].split("#")[0])
    if hashlib.sha256(wheel).hexdigest() not in hashes:
        sys.exit(f"{wheels[0]}: its SHA-256 is not in {LOCK.name}; refusing to use it")
    with zipfile.ZipFile(io.BytesIO(wheel)) as files:
        program = next(name for name in files.namelist() if name.endswith("/scripts/uv"))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        part.write_bytes(files.read(program))
    part.chmod(0o755)
    part.replace(target)


if __name__ == "__main__":
    main()
