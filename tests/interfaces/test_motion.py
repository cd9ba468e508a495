"""Head motion and resampling as nodes."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from dwi.moving_head import random_transforms, scan_head

from shd_bids.dwi.gradients import GradientTable, read_mrtrix_gradients, write_mrtrix_gradients
from shd_bids.dwi.shells import cluster_shells
from shd_bids.dwi.transforms import read_transforms, rotate_gradients
from shd_bids.interfaces.motion import CorrectMotion, ResampleDwi
from shd_bids.testing.scan import make_affine
from shd_bids.testing.scheme import make_scheme

SHAPE = (18, 18, 14)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder, affine = tmp_path_factory.mktemp("scan"), make_affine(SHAPE, 4.0)
    gradients = GradientTable(*make_scheme({0: 2, 1000: 8}, seed=2))
    shells = cluster_shells(gradients.bvals)
    moved = random_transforms(shells, mm=2.0, degrees=2.0, eddy=0.0)
    dwi, mask = scan_head(SHAPE, affine, gradients, moved)
    arrays = {"dwi": dwi, "mask": mask.astype(np.uint8), "field": np.zeros(SHAPE, np.float32)}
    for name, array in arrays.items():
        nib.save(nib.Nifti1Image(array, affine), folder / f"{name}.nii")
    write_mrtrix_gradients(gradients, folder / "dwi.b")
    return {
        "dwi_file": str(folder / "dwi.nii"),
        "gradients_file": str(folder / "dwi.b"),
        "fieldmap_file": str(folder / "field.nii"),
        "phase_encodings": [(1, -1, 0.05)] * 10,
    }


@pytest.fixture(scope="module")
def corrected(inputs, tmp_path_factory):
    node = CorrectMotion(
        b0_threshold=100.0,
        shell_tolerance=80.0,
        mask_file=str(Path(inputs["dwi_file"]).with_name("mask.nii")),
        **inputs,
    )
    return node.run(cwd=str(tmp_path_factory.mktemp("motion"))).outputs


def test_motion_is_written_for_every_volume_and_slice(corrected):
    assert read_transforms(Path(corrected.transforms_file)).n_volume == 10
    table = pd.read_csv(corrected.outliers_file, sep="\t")
    assert len(table) == 10 * SHAPE[2]
    assert list(table) == ["volume", "slice", "z_score", "is_outlier"]
    assert json.loads(Path(corrected.summary_file).read_text())["failed"] == {}
    assert nib.load(corrected.dwi_file).shape == (*SHAPE, 10)


@pytest.mark.parametrize("options", [{}, {"output_resolution": 3.0}])
def test_a_series_is_resampled_with_its_gradients(inputs, corrected, options, tmp_path):
    node = ResampleDwi(**inputs, transforms_file=corrected.transforms_file, **options)
    node.inputs.dwi_file = corrected.dwi_file
    out = node.run(cwd=str(tmp_path)).outputs
    image = nib.load(out.dwi_file)
    edge_mm = options.get("output_resolution", 4.0)
    assert np.allclose(image.header.get_zooms()[:3], edge_mm)
    assert image.shape[3] == 10
    before = read_mrtrix_gradients(Path(inputs["gradients_file"]))
    turned = rotate_gradients(before, read_transforms(Path(corrected.transforms_file)))
    after = read_mrtrix_gradients(Path(out.gradients_file)).bvecs_ras
    assert np.allclose(turned.bvecs_ras, after, atol=1e-6)
