#!/bin/sh
# Fill /opt/templateflow: the skeleton, which needs no network, and the TEMPLATES that are named as
# for --anat-template. With TEMPLATES empty the image is built without a network for them; its users
# then bind a folder that has them, or have a network.
set -eu
export TEMPLATEFLOW_HOME=/opt/templateflow
TEMPLATES="${TEMPLATES:-}" /opt/shd-bids/bin/python -I - <<'EOF'
import os
import sys

from templateflow import api  # writes the skeleton

from shd_bids.anat.template import find_template
from shd_bids.errors import AnatomyError

assert "MNI152NLin2009cAsym" in api.templates()
for name in os.environ["TEMPLATES"].split():
    try:
        template = find_template(name, download=True)
    except AnatomyError as error:
        sys.exit(f"{error}\nAn image without templates: --build-arg TEMPLATES=")
    print(template.t1w_file, template.mask_file)
EOF
chmod -R a+rX /opt/templateflow
