"""Nodes of the structural image load, call and save."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from anat.heads import make_head, rigid, upright_grid

from shd_bids.anat.transforms import from_matrix, write_transform
from shd_bids.errors import AnatomyError
from shd_bids.interfaces.anat import CompareMasks, PrepareT1w, ResampleImage, SplitTissue


@pytest.fixture(scope="module")
def head_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("head") / "t1w.nii.gz"
    _, t1w = make_head()
    nib.Nifti1Image(t1w.data, t1w.affine).to_filename(file)
    return file


def _save(data, affine, file: Path) -> str:
    nib.Nifti1Image(data, affine).to_filename(file)
    return str(file)


def test_a_t1w_series_is_refused_by_name(tmp_path):
    file = _save(np.ones((6, 6, 6, 2), np.float32), np.eye(4), tmp_path / "two_T1w.nii.gz")
    with pytest.raises(AnatomyError, match=r"two_T1w.nii.gz has the shape \(6, 6, 6, 2\)"):
        PrepareT1w(t1w_file=file).run(cwd=str(tmp_path))


def test_there_and_back_through_one_interpolation_each_is_the_identity(head_file, tmp_path):
    grid = upright_grid()
    reference = _save(np.zeros(grid.shape, np.float32), grid.affine, tmp_path / "ref.nii.gz")
    turn = rigid((5, 5, 5), (2, 2, 2), grid.centre_ras)
    there = write_transform(from_matrix(turn), tmp_path / "there.txt")
    back = write_transform(from_matrix(np.linalg.inv(turn)), tmp_path / "back.txt")
    node = ResampleImage(
        in_file=str(head_file),
        reference_file=reference,
        transform_files=[str(there), str(back)],
    )
    plain = ResampleImage(
        in_file=str(head_file),
        reference_file=reference,
        transform_files=[str(write_transform(from_matrix(np.eye(4)), tmp_path / "one.txt"))],
    )
    files = []
    for name, one in (("both", node), ("plain", plain)):
        (tmp_path / name).mkdir()
        files.append(one.run(cwd=str(tmp_path / name)).outputs.out_file)
    first, second = (nib.load(file).get_fdata() for file in files)
    np.testing.assert_allclose(first, second, atol=0.1)


def test_label_numbers_and_every_volume_survive(tmp_path):
    labels = np.zeros((8, 8, 8), np.int16)
    labels[2:6, 2:6, 2:6] = 2035
    label_file = _save(labels, np.eye(4), tmp_path / "atlas.nii.gz")
    maps_file = _save(np.ones((8, 8, 8, 3), np.float32), np.eye(4), tmp_path / "maps.nii.gz")
    one = str(write_transform(from_matrix(np.eye(4)), tmp_path / "one.txt"))
    given = {"reference_file": label_file, "transform_files": [one]}
    atlas = ResampleImage(in_file=label_file, kind="label", **given).run(cwd=str(tmp_path)).outputs
    np.testing.assert_array_equal(nib.load(atlas.out_file).get_fdata(), labels)
    maps = ResampleImage(in_file=maps_file, **given).run(cwd=str(tmp_path)).outputs
    assert nib.load(maps.out_file).shape == (8, 8, 8, 3)


def test_equal_masks_have_no_distance(tmp_path):
    file = _save(np.ones((4, 4, 4), np.uint8), np.eye(4), tmp_path / "mask.nii.gz")
    out = CompareMasks(mask_file=file, other_file=file).run(cwd=str(tmp_path)).outputs
    assert out.dice_distance == 0.0


def test_each_tissue_gets_its_file(tmp_path):
    data = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    file = tmp_path / "tissue.nii.gz"
    nib.Nifti1Image(data, np.eye(4)).to_filename(file)
    files = SplitTissue(tissue_file=str(file)).run(cwd=str(tmp_path)).outputs.tissue_files
    for order, tissue in enumerate(("WM", "GM", "CSF")):
        np.testing.assert_array_equal(nib.load(files[tissue]).get_fdata(), data[..., order])
