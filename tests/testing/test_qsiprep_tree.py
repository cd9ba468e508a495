"""The synthetic QSIPrep tree shows the phantom, voxel for voxel, on an LPS+ grid."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.bids.generators import is_preprocessed
from shd_bids.bids.preprocessed import PreprocessedSeries, find_preprocessed
from shd_bids.dwi.gradients import read_gradients
from shd_bids.testing.geometry import TISSUES
from shd_bids.testing.phantom import Phantom, make_affine, make_phantom
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree

SHAPE = (12, 14, 10)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SHAPE, 6.0, shells={0: 1, 1000: 8})


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory) -> PreprocessedSeries:
    root = write_qsiprep_tree(phantom, tmp_path_factory.mktemp("qsiprep") / "derivatives")
    (series,) = find_preprocessed(root, "01")
    return series


def test_all_that_qsiprep_leaves_is_found(series):
    assert series.space == "ACPC"
    assert None not in (series.mask_file, series.confounds_file, series.qc_file)
    assert None not in vars(series.anatomy).values()
    assert series.anatomy.tissue_files == (series.anatomy.dseg_file,)
    assert is_preprocessed(series.dwi_file.parents[2])


def test_images_run_left_posterior_superior_and_stay_oblique(series):
    affine = nib.load(series.dwi_file).affine
    assert nib.aff2axcodes(affine) == ("L", "P", "S")
    assert np.count_nonzero(np.abs(affine[:3, :3]) > 0.1) > 3


def test_the_segmentation_holds_the_tissues_by_their_labels(series, phantom):
    dseg = np.asarray(nib.load(series.anatomy.dseg_file).dataobj)
    for index, tissue in enumerate(TISSUES):
        expected = phantom.mask & (phantom.truth.tissue.argmax(axis=-1) == index)
        assert (dseg == series.anatomy.dseg_labels[tissue]).sum() == expected.sum()


def test_every_voxel_keeps_its_value_and_place(series, phantom):
    image = nib.load(series.dwi_file)
    there = np.indices(SHAPE).reshape(3, -1)
    world = phantom.affine[:3, :3] @ there + phantom.affine[:3, 3:]
    found = np.linalg.solve(image.affine[:3, :3], world - image.affine[:3, 3:])
    x, y, z = np.rint(found).astype(int)
    np.testing.assert_allclose(found, [x, y, z], atol=1e-4)
    data = np.asarray(image.dataobj)
    np.testing.assert_array_equal(data[x, y, z], phantom.dwi[tuple(there)])


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "oblique"])
def test_both_kinds_of_gradient_files_give_the_directions_of_the_world(
    phantom, orientation, tmp_path
):
    small = make_phantom(
        (6, 5, 4), 12.0, shells={0: 1, 1000: 8}, affine=make_affine((6, 5, 4), 12.0, orientation)
    )
    for mrtrix_table, convention in ((True, "mrtrix"), (False, "image-axes")):
        folder: Path = tmp_path / convention
        (one,) = find_preprocessed(
            write_qsiprep_tree(small, folder, mrtrix_table=mrtrix_table), "01"
        )
        assert one.gradients.convention == convention
        affine = nib.load(one.dwi_file).affine
        table = read_gradients(one.gradients.files, one.gradients.convention, affine)
        np.testing.assert_allclose(table.bvecs_ras, small.bvecs_ras, atol=1e-6)
        np.testing.assert_array_equal(table.bvals, small.bvals)


def test_sessions_old_names_and_missing_anatomy_can_be_had(phantom, tmp_path):
    root = write_qsiprep_tree(
        phantom, tmp_path / "old", participant_label="07", sessions=["a", "b"], space="T1w"
    )
    first, second = find_preprocessed(root, "07")
    assert (first.space, first.session_label, second.session_label) == ("T1w", "a", "b")
    assert first.anatomy.t1w_file.name == "sub-07_desc-preproc_T1w.nii.gz"
    (bare,) = find_preprocessed(write_qsiprep_tree(phantom, tmp_path / "bare", anatomy=False), "01")
    assert bare.anatomy is None
