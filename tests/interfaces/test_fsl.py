"""FSL's topup gets the images in its own order of voxels, and its field comes back in ours."""

import sys
from pathlib import Path

import numpy as np
import pytest

from shd_bids.dwi.transforms import PhaseEncoding
from shd_bids.errors import ShdBidsError
from shd_bids.interfaces.fsl import run_topup

# A stand-in that writes what topup would: its field is the first image, so that order shows
TOPUP = """\
#!{python}
import sys
import nibabel as nib
import numpy as np
options = dict(word.split("=", 1) for word in sys.argv[1:])
series = nib.load(options["--imain"])
nib.Nifti1Image(series.get_fdata()[..., 0], series.affine).to_filename(options["--fout"])
series.to_filename(options["--iout"])
np.savetxt(options["--out"] + "_movpar.txt", np.zeros((series.shape[3], 6)))
"""


@pytest.mark.parametrize(("handed", "first"), [(1, -1), (-1, 1)])
def test_axes_are_mirrored_to_fsl_and_back(handed, first, tmp_path, monkeypatch):
    _pretend(tmp_path, monkeypatch, TOPUP.format(python=sys.executable))
    images = np.random.default_rng(0).uniform(1, 2, (2, 4, 6, 8)).astype(np.float32)
    affine = np.diag([handed * 2.0, 2.0, 2.0, 1.0])
    encodings = [PhaseEncoding(0, 1, 0.05), PhaseEncoding(0, -1, 0.05)]
    work_dir = tmp_path / "work $(touch pwned);touch pwned"
    work_dir.mkdir()
    found = run_topup(images, affine, encodings, work_dir)
    assert np.allclose(found.fieldmap_hz, images[0])
    assert np.allclose(found.corrected, images)
    table = np.loadtxt(work_dir / "encodings.txt")
    assert np.allclose(table, [[first, 0, 0, 0.05], [-first, 0, 0, 0.05]])
    assert not list(tmp_path.rglob("pwned"))


def test_what_topup_complains_of_is_told(tmp_path, monkeypatch):
    _pretend(tmp_path, monkeypatch, "#!/bin/sh\necho no field >&2\nexit 3\n")
    encodings = [PhaseEncoding(0, 1, 0.05), PhaseEncoding(0, -1, 0.05)]
    with pytest.raises(ShdBidsError, match=r"topup failed \(3\):\nno field\nUse --sdc"):
        run_topup(np.ones((2, 4, 4, 4), np.float32), np.eye(4), encodings, tmp_path)


def _pretend(tmp_path: Path, monkeypatch, text: str) -> None:
    """Put a program of the name of topup first on PATH."""
    program = tmp_path / "topup"
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
