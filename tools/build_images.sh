#!/bin/bash
# Builds the images with docker, or with buildah where there is no docker engine.
#   tools/build_images.sh BASE_IMAGE [IMAGE...]     without any image, all: predictor, predictor-gpu, transformer, transformer-feast, operator
# flights-training is the example's, on top of transformer-feast, which has to be built before it.
# Each holds a list of all that is in it, /opt/penstock/sbom.cdx.json, and says so by the label dev.penstock.sbom.
# BASE_IMAGE needs python3 (3.11 to 3.13) with venv and pip for the build stage; the final stage runs on the same base.
set -euo pipefail
cd "$(dirname "$0")/.."
base=$1; shift
version=$(sed -n 's/^version = "\(.*\)"/\1/p' core/pyproject.toml)
revision=$(git rev-parse --short HEAD)
[ $# -gt 0 ] || set -- predictor predictor-gpu transformer transformer-feast operator

build() { # name, Dockerfile, suffix of the tag, further options
  local tag=penstock/$1:$version$3
  local options=(--file "$2" --build-arg "BASE_IMAGE=$base" --build-arg "VERSION=$version"
    --label "org.opencontainers.image.revision=$revision" --label "org.opencontainers.image.version=$version"
    --label "org.opencontainers.image.base.name=$base" --tag "$tag" "${@:4}")
  if docker info >/dev/null 2>&1; then
    docker build --quiet "${options[@]}" .
  elif command -v buildah >/dev/null; then
    local engine=(buildah --storage-driver "${BUILDAH_STORAGE:-overlay}") before dangling
    before=$("${engine[@]}" images --quiet --no-trunc --filter "reference=localhost/$tag")
    # chroot isolation: builds inside containers and on machines where new namespaces are refused
    # --force-rm: with --layers one that fails, or is told to end, leaves its container and a mount otherwise
    "${engine[@]}" bud --quiet --isolation chroot --layers --force-rm "${options[@]}" .
    # What had the tag goes, with up to a gigabyte of its own: unless it has another tag, or a container of it is there.
    dangling=$("${engine[@]}" images --quiet --no-trunc --filter dangling=true)
    if [ -n "$before" ] && [[ $dangling = *$before* ]]; then "${engine[@]}" rmi "$before" >/dev/null 2>&1 || true; fi
  else
    echo "needs docker or buildah" >&2; exit 1
  fi
  echo "built $tag"
}

# What the engine calls an image that was built here.
local_name() { if docker info >/dev/null 2>&1; then echo "$1"; else echo "localhost/$1"; fi; }

for image in "$@"; do
  case $image in
    predictor) build predictor predictor/Dockerfile "" ;;
    predictor-gpu) build predictor-gpu predictor/Dockerfile.gpu "" ;;
    transformer) build transformer transformer/Dockerfile "" ;;
    transformer-feast) build transformer transformer/Dockerfile -feast --build-arg REQUIREMENTS=transformer-feast ;;
    operator) build operator operator/Dockerfile "" ;;
    flights-training) build flights-training examples/flights/Dockerfile "" --build-arg "TRANSFORMER=$(local_name "penstock/transformer:$version-feast")" ;;
    *) echo "no image $image: predictor, predictor-gpu, transformer, transformer-feast, operator, flights-training" >&2; exit 2 ;;
  esac
done
