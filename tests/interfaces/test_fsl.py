"""FSL's topup gets the images in its own order of voxels, and its field comes back in ours."""

import sys

import numpy as np
import pytest

from shd_bids.dwi.transforms import PhaseEncoding
from shd_bids.interfaces.fsl import run_topup

# A stand-in that writes what topup would: its field is the first image, so that order shows
TOPUP = """\
#!{python}
import sys
from pathlib import Path
import nibabel as nib
import numpy as np
options = dict(word.split("=", 1) for word in sys.argv[1:])
series = nib.load(options["--imain"])
nib.Nifti1Image(series.get_fdata()[..., 0], series.affine).to_filename(options["--fout"])
series.to_filename(options["--iout"])
Path(options["--out"] + "_fieldcoef.nii.gz").touch()
Path(options["--logout"]).touch()
for number in (1, 2):
    Path(f"{{options['--dfout']}}_{{number:02d}}.nii.gz").touch()
    Path(f"{{options['--jacout']}}_{{number:02d}}.nii.gz").touch()
    Path(f"{{options['--rbmout']}}_{{number:02d}}.mat").touch()
np.savetxt(options["--out"] + "_movpar.txt", np.zeros((series.shape[3], 6)))
"""


@pytest.mark.parametrize(("handed", "first"), [(1, -1), (-1, 1)])
def test_axes_are_mirrored_to_fsl_and_back(handed, first, tmp_path, monkeypatch):
    program = tmp_path / "topup"
    program.write_text(TOPUP.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("FSLOUTPUTTYPE", "NIFTI_GZ")
    images = np.random.default_rng(0).uniform(1, 2, (2, 4, 6, 8)).astype(np.float32)
    affine = np.diag([handed * 2.0, 2.0, 2.0, 1.0])
    encodings = [PhaseEncoding(0, 1, 0.05), PhaseEncoding(0, -1, 0.05)]
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    found = run_topup(images, affine, encodings, work_dir)
    assert np.allclose(found.fieldmap_hz, images[0])
    assert np.allclose(found.corrected, images)
    table = np.loadtxt(work_dir / "encodings.txt")
    assert np.allclose(table, [[first, 0, 0, 0.05], [-first, 0, 0, 0.05]])
