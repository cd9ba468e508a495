#!/bin/bash
# Build the image: `build_image.sh IMAGE [INDEX]`. INDEX is where torch is taken from instead of PyPI.
set -euo pipefail
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' shd_bids/__init__.py)
docker build --tag "$1" --build-arg IMAGE_TAG="$1" --build-arg VERSION="$version" \
    --build-arg TORCH_INDEX="${2:-}" --build-arg REVISION="$(git rev-parse HEAD)" \
    --build-arg CREATED="$(date --utc +%FT%TZ)" .
