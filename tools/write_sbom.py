"""Writes what an image consists of, as a CycloneDX 1.6 document: `write_sbom.py NAME VERSION FILE`, run when it is built.

Python's distributions are those of the interpreter that runs it, Debian's packages those of the machine's dpkg; build stage and
final stage share their base. Nothing but the standard library, and no times: the same image has the same document.
"""

import json
import platform
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")


def python_components() -> list[dict[str, Any]]:
    """The interpreter, and every installed distribution once."""
    found = {}
    for distribution in distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        purl = f"pkg:pypi/{name}@{quote(distribution.version)}"
        found[purl] = component("library", name, distribution.version, purl, licence(distribution))
    version = platform.python_version()
    return [component("platform", "python", version, f"pkg:generic/python@{version}", "PSF-2.0"), *found.values()]


def licence(distribution: Distribution) -> str:
    """As its metadata says it, in whichever of the three ways; empty if in none, or at length."""
    metadata = distribution.metadata
    said = (metadata.get_all("License-Expression") or metadata.get_all("License") or [""])[0]
    if not said or len(said) > 80:
        classifiers = [one for one in metadata.get_all("Classifier") or () if one.startswith("License :: ")]
        said = " AND ".join(one.rpartition(" :: ")[2] for one in classifiers)
    return " ".join(said.split())


def debian_components(status: str, distribution: str) -> list[dict[str, Any]]:
    """The packages that dpkg says are installed."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
            found.append(component("library", name, version, purl, ""))
    return found


def component(kind: str, name: str, version: str, purl: str, said: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if said:
        found["licenses"] = [{"license": {"name": said}}]
    return found


def document(name: str, version: str) -> dict[str, Any]:
    """The whole of it, in a fixed order."""
    components = python_components()
    if DPKG.exists():
        release = OS_RELEASE.read_text() if OS_RELEASE.exists() else ""
        found = re.search(r"^ID=\"?([\w.-]+)", release, re.MULTILINE)
        components += debian_components(DPKG.read_text(encoding="utf-8"), found[1] if found else "debian")
    image = {"type": "container", "bom-ref": name, "name": name, "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": image},
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
    }


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(document(sys.argv[1], sys.argv[2]), indent=1) + "\n")
