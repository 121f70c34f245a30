#!/bin/bash
# Builds the images with docker, or with buildah where there is no docker engine.
#   tools/build_images.sh BASE_IMAGE [IMAGE...]     IMAGE: predictor, predictor-gpu, transformer; without any, all of them
# BASE_IMAGE needs python3 (3.11 to 3.13) with venv and pip for the build stage; the final stage runs on the same base.
set -euo pipefail
cd "$(dirname "$0")/.."
base=$1; shift
version=$(sed -n 's/^version = "\(.*\)"/\1/p' core/pyproject.toml)
revision=$(git rev-parse --short HEAD)
[ $# -gt 0 ] || set -- predictor predictor-gpu transformer

build() { # name, Dockerfile
  local tag=penstock/$1:$version
  local options=(--file "$2" --build-arg "BASE_IMAGE=$base" --label "org.opencontainers.image.revision=$revision"
    --label "org.opencontainers.image.version=$version" --label "org.opencontainers.image.licenses=Apache-2.0" --tag "$tag")
  if docker info >/dev/null 2>&1; then
    docker build --quiet "${options[@]}" .
  elif command -v buildah >/dev/null; then
    # chroot isolation: builds inside containers and on machines where new namespaces are refused
    buildah --storage-driver "${BUILDAH_STORAGE:-overlay}" bud --quiet --isolation chroot --layers "${options[@]}" .
  else
    echo "needs docker or buildah" >&2; exit 1
  fi
  echo "built $tag"
}

for image in "$@"; do
  case $image in
    predictor) build predictor predictor/Dockerfile ;;
    predictor-gpu) build predictor-gpu predictor/Dockerfile.gpu ;;
    transformer) build transformer transformer/Dockerfile ;;
    *) echo "no image $image: predictor, predictor-gpu, transformer" >&2; exit 2 ;;
  esac
done
