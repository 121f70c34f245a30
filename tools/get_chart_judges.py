"""Puts what judges the chart into the cache, all of it from the Go module proxy. Called by `make test`; what is there stays.

helm           renders and installs the chart; the test cluster uses the same one
kubeconform    holds every rendering to schemas
schemas        of Kubernetes' own resources, and of those of KServe, KEDA and the Prometheus operator, from their CRDs

What cannot be had is said in a line, and the tests that need it skip.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from penstock.testing.kubernetes_schemas import schemas_of_crd, schemas_of_swagger, write_schemas
from penstock.testing.programs import cache_directory

HELM = "helm.sh/helm/v3/cmd/helm@v3.19.4"
KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
KUBERNETES = "k8s.io/kubernetes@v1.34.4"
# Module, and the folder of its CRDs.
CRDS = (
    ("github.com/kserve/kserve@v0.20.0", "charts/kserve-crd/templates"),
    ("github.com/kedacore/keda/v2@v2.18.0", "config/crd/bases"),
    ("github.com/prometheus-operator/prometheus-operator@v0.76.2", "example/prometheus-operator-crd"),
)
KUBE = cache_directory() / "kube"
# Of `penstock.testing.kubernetes_schemas`: one more when what it writes changes.
FORMAT = "2"


def go_install(module: str, folder: Path) -> None:
    """Build a program, unless it is there."""
    name = module.partition("@")[0].rpartition("/")[2]
    if (folder / name).exists():
        return
    print(f"building {name}")
    environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
    done = subprocess.run(
        ["go", "install", "-ldflags", "-s -w", module], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{name} could not be built; the tests that need it are skipped ({done.stderr.strip()[-300:]})")


def module_folder(module: str) -> Path:
    """A module's files, downloaded if they are not there."""
    done = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def crds(folder: Path) -> Iterator[dict[str, Any]]:
    """The CustomResourceDefinitions of a folder; a chart's template of one is plain YAML too."""
    for path in sorted(folder.glob("*.yaml")):
        text = "\n".join(line for line in path.read_text().splitlines() if "{{" not in line)
        # YAML 1.1 has a type of its own for a bare equals sign, which PyYAML knows and cannot read.
        text = text.replace("- =\n", "- '='\n")
        yield from (document for document in yaml.safe_load_all(text) if document)


def schemas() -> None:
    """Write the schemas, unless they are there."""
    folder = KUBE / "schemas"
    versions = "\n".join([FORMAT, KUBERNETES, *(module for module, _ in CRDS)])
    complete = folder / "complete"
    if complete.exists() and complete.read_text() == versions:
        return
    print("writing Kubernetes' schemas")
    try:
        swagger = json.loads((module_folder(KUBERNETES) / "api/openapi-spec/swagger.json").read_text())
        write_schemas(schemas_of_swagger(swagger), folder)
        for module, below in CRDS:
            for crd in crds(module_folder(module) / below):
                write_schemas(schemas_of_crd(crd), folder)
    except subprocess.CalledProcessError as error:
        print(f"schemas could not be had; the tests that need them are skipped ({error.stderr.strip()[-300:]})")
        return
    complete.write_text(versions)


if __name__ == "__main__":
    if shutil.which("go") is None:
        print("helm and kubeconform need Go; the tests that need them are skipped")
    else:
        go_install(HELM, KUBE / "bin")
        go_install(KUBECONFORM, cache_directory() / "go" / "bin")
        schemas()
