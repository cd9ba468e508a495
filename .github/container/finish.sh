#!/bin/sh
# The last step: the user, the folders that any user may write to, and a look at whether it runs.
set -eu
useradd --uid 1000 --user-group --no-create-home --home-dir /home/shd-bids --shell /usr/sbin/nologin shd-bids
# of whoever runs the image, `--user 12345:12345` as well
install -d -m 1777 /home/shd-bids /work
chmod -R a+rwX /opt/templateflow # other templates can be fetched, unless the root is read-only
rm -rf /build /root/.cache /var/log/faillog /var/log/lastlog

cd /
# variables by name, since Docker's steps have the image's and Apptainer's have the builder's
export PATH="/opt/shd-bids/bin:$PATH" HOME=/home/shd-bids TEMPLATEFLOW_HOME=/opt/templateflow
unprivileged() { setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs "$@"; }
said=$(unprivileged shd-bids --version)
if [ "$said" != "shd-bids ${VERSION:-}" ]; then
    echo "The image is said to be of version '${VERSION:-}', but: $said" >&2
    exit 1
fi
unprivileged tcksift2 -version | head -n 1
unprivileged python -c '
import torch, vtkmodules, nipype, niworkflows, templateflow
print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, nipype {nipype.__version__}, "
      f"niworkflows {niworkflows.__version__}")'
