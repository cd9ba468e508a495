#!/bin/sh
# Make the environment /opt/shd-bids: `install-python.sh libraries`, then `... program`.
# The first needs only the locks beside this script, so that an image of other sources takes it
# from the cache. TORCH_INDEX is a package index to take torch from, such as
# https://download.pytorch.org/whl/cu126 (older drivers) or .../cpu; if it is empty, PyPI's build
# for CUDA 13.0 is taken, with its hashes.
set -eu
step=$1
here=$(cd "$(dirname "$0")" && pwd)
tools=/build/tools       # pip and the build backend; nothing of it is in the image
environment=/opt/shd-bids
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

install() { "$tools/bin/pip" --python "$environment/bin/python" install --progress-bar off "$@"; }

case $step in
libraries)
    python3 -m venv "$tools"
    "$tools/bin/pip" install --require-hashes -r "$here/requirements-build.txt"
    python3 -m venv --without-pip "$environment"
    rm -f "$environment/lib64" # a link to lib, which Apptainer's %files would copy a second time
    # wheels alone: no compiler, and no code of others runs while it is installed
    install --require-hashes --no-deps --only-binary :all: -r "$here/requirements.txt"
    "$tools/bin/pip" wheel --require-hashes --no-deps --no-build-isolation \
        --wheel-dir /build/wheel -r "$here/requirements-source.txt"
    install --no-deps /build/wheel/*.whl
    if [ -z "${TORCH_INDEX:-}" ]; then
        install --require-hashes --no-deps --only-binary :all: -r "$here/requirements-torch.txt"
    else
        install --index-url "$TORCH_INDEX" --only-binary :all: \
            "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$here/requirements-torch.txt")"
    fi
    # headers and tests are of no use to a program that is not compiled
    packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    rm -rf "$packages/torch/include" "$packages/torch/share/cmake"
    for name in dipy nipype pandas scipy skimage sklearn; do
        find "$packages/$name" -type d -name tests -prune -exec rm -rf {} +
    done
    ;;
program)
    "$tools/bin/pip" wheel --no-deps --no-build-isolation --wheel-dir /build/wheel /build/source
    install --no-deps /build/wheel/shd_bids-*.whl
    "$tools/bin/pip" --python "$environment/bin/python" check
    # -I: no PYTHONPATH, PYTHONHOME or ~/.local of the host (Apptainer brings all of them along);
    # -u: the log is seen while the program runs
    sed -i '1s|.*|#!/opt/shd-bids/bin/python -Iu|' "$environment/bin/shd-bids"
    ;;
*) echo "install-python.sh: there is no step $step; expected libraries or program" >&2; exit 2 ;;
esac
