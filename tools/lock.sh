#!/bin/bash
# Resolves the workspace and writes one lock a member: versions, markers and hashes, no download addresses.
# uv.lock itself holds addresses, so it stays out of the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
"$UV" lock --quiet
export_lock() { # file, then uv's options
  local file=requirements/$1; shift
  "$UV" export --quiet --frozen --no-emit-workspace --no-header --no-annotate "$@" -o "$file" >/dev/null
  echo "$file: $(grep -c == "$file") packages"
}
export_lock predictor.txt --package penstock-predictor --extra cpu --extra stores --no-dev
export_lock predictor-gpu.txt --package penstock-predictor --extra gpu --extra stores --no-dev
export_lock transformer.txt --package penstock-transformer --no-dev
export_lock transformer-feast.txt --package penstock-transformer --extra feast --no-dev
export_lock operator.txt --package penstock-operator --no-dev
export_lock cli.txt --package penstock-cli --no-dev
export_lock dev.txt --all-packages --extra cpu --extra compile
export_lock build.txt --only-group build
export_lock uv.txt --only-group uv
export_lock go.txt --only-group go
