#!/bin/sh
# Install Debian's packages for one stage: `install-debian.sh build` or `install-debian.sh run`.
# DEBIAN_SNAPSHOT is a time of snapshot.debian.org, such as 20261125T000000Z; if it is empty, the
# base image's own sources serve, which is for networks that do not reach the snapshots.
set -eu
stage=$1

# What shapes results has its version here, too, so that a build without snapshots fails where
# Debian has moved on. /usr/bin/python3 is of both stages: one's environment works in the other.
packages='python3=3.13.5-1 python3-minimal=3.13.5-1'
case $stage in
build) packages="$packages python3-venv" ;;
run) packages="$packages mrtrix3=3.0.4-1* libegl1" ;; # tcksift2; VTK draws without a display by EGL
*) echo "install-debian.sh: there is no stage $stage; expected build or run" >&2; exit 2 ;;
esac

if [ -n "${DEBIAN_SNAPSHOT:-}" ]; then
    rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
    url=http://snapshot.debian.org/archive # apt checks signatures
    cat > /etc/apt/sources.list.d/snapshot.sources <<EOF
Types: deb
URIs: $url/debian/$DEBIAN_SNAPSHOT
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
Check-Valid-Until: no

Types: deb
URIs: $url/debian-security/$DEBIAN_SNAPSHOT
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
Check-Valid-Until: no
EOF
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # words, and no folder has files of these names
set -f; apt-get install -q -y --no-install-recommends $packages; set +f
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* \
    /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
