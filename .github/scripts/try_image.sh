#!/bin/bash
# Run the demo in the image as a stranger: no network, a root file system and an input that cannot be
# written, a user whom nothing knows. `try_image.sh IMAGE`; writes to demo/.
set -euo pipefail
image=$1
alone=(docker run --rm --read-only --tmpfs /tmp --network none)
python=(--entrypoint /opt/shd-bids/bin/python "$image")

"${alone[@]}" --user 12345:12345 "$image" --version
mkdir --parents demo/out demo/work
"${alone[@]}" --user "$(id -u):$(id -g)" -v "$PWD/demo:/demo" \
    "${python[@]}" -m shd_bids.testing.phantom /demo/bids --snr 15
sudo chown 12345:12345 demo/out demo/work
"${alone[@]}" --user 12345:12345 \
    -v "$PWD/demo/bids:/data:ro" -v "$PWD/demo/out:/out" -v "$PWD/demo/work:/work" \
    "$image" /data /out participant -w /work \
    --shd-preset fast --fod-model shd-tv csd msmt-csd --n-streamlines 20000
"${alone[@]}" --user 12345:12345 -v "$PWD/demo:/demo:ro" \
    "${python[@]}" -m shd_bids.testing.score /demo/bids /demo/out
