#!/bin/bash
# Build the image: `build_image.sh IMAGE VERSION [INDEX]`. INDEX is where torch is taken from.
set -euo pipefail
docker build --tag "$1" --build-arg IMAGE_TAG="$1" --build-arg VERSION="$2" --build-arg TORCH_INDEX="${3:-}" \
    --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date --utc +%FT%TZ)" .
