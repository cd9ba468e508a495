#!/bin/sh
# Write the locks of the image anew: versions and hashes of every Python package in it.
# Needs uv and PyPI. The image takes torch's version from constraints.txt, as everything does.
#   sh .github/container/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")"
root=../..
python=3.13 # Debian 13's
all=$(mktemp)
pin=$(mktemp)
trap 'rm -f "$all" "$pin"' EXIT
grep '^torch==' $root/constraints.txt > "$pin"
[ "${1:-}" = --upgrade ] || cat requirements.txt requirements-source.txt requirements-torch.txt > "$all"

compile() {
    uv pip compile --quiet --python-version $python --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-header --no-annotate "$@"
}

compile "$root/pyproject.toml" --constraint "$pin" --output-file "$all" > /dev/null
# Apart: torch with what only its CUDA build needs, since another build of it (TORCH_INDEX) does
# without; and what PyPI has no wheel of.
awk '
    /^[a-z]/ { part = "" }
    /^(torch|triton|nvidia-|cuda-)/ { part = "-torch" }
    /^docopt=/ { part = "-source" }
    { print > ("requirements" part ".txt") }' "$all"
printf 'hatchling\nsetuptools\n' | compile - --output-file requirements-build.txt > /dev/null
