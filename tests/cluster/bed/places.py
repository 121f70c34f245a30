"""Where the bed keeps things: what is built once lies in the cache, what one cluster needs in `run`, which `down` removes whole.

~/.cache/penstock/kube/bin        programs, built by Go          .../images   archives of images
                      /run        keys, configurations, logs, state of the cluster that is up
"""

from pathlib import Path

from penstock.testing.programs import cache_directory

ROOT = Path(__file__).resolve().parents[3]
CACHE = cache_directory() / "kube"
PROGRAMS = CACHE / "bin"
ARCHIVES = CACHE / "images"
RUN = CACHE / "run"
KUBECONFIG = RUN / "admin.kubeconfig"
"""The kubeconfig of the cluster that `make cluster-up` starts."""
