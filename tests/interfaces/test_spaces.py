"""Maps and labels go to other grids by laws that do not depend on how they are stored."""

import nibabel as nib
import numpy as np
import pytest
from anat.heads import rigid, upright_grid
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from shd_bids.anat.regions import read_regions
from shd_bids.anat.transforms import from_matrix, write_transform
from shd_bids.interfaces.anat import ResampleImage
from shd_bids.interfaces.atlas import CheckAtlas, TabulateRegions
from shd_bids.interfaces.spaces import MakeGrid, ResampleMaps


@pytest.fixture
def atlas_file(tmp_path):
    """Hold four regions of unequal size that touch each other, and one that is a single voxel."""
    labels = np.zeros((20, 18, 16), np.int16)
    labels[3:10, 3:15, 3:13] = 1
    labels[10:16, 3:15, 3:13] = 2
    labels[3:16, 3:8, 3:7] = 300
    labels[12:16, 10:15, 8:13] = 2035
    labels[1, 1, 1] = 7
    file = tmp_path / "atlas.nii.gz"
    nib.Nifti1Image(labels, upright_grid((20, 18, 16), 2.0).affine).to_filename(file)
    rows = "".join(f"{number}\tr{number}\n" for number in (1, 2, 7, 300, 2035))
    (tmp_path / "atlas.tsv").write_text("index\tname\n" + rows)
    return file


def _run(node, folder, **inputs):
    folder.mkdir(exist_ok=True)
    return node(**inputs).run(cwd=str(folder)).outputs


def _bring(file, reference, folder, transforms=()):
    checked = _run(
        CheckAtlas, folder, atlas_file=str(file), table_file=str(folder.parent / "atlas.tsv")
    ).atlas_file
    return _run(
        ResampleImage, folder, in_file=checked, reference_file=str(reference), kind="label",
        transform_files=list(map(str, transforms)),
    ).out_file  # fmt: skip


def test_the_identity_keeps_every_label_and_its_volume(atlas_file, tmp_path):
    brought = _bring(atlas_file, atlas_file, tmp_path / "run")
    np.testing.assert_array_equal(nib.load(brought).dataobj, nib.load(atlas_file).dataobj)
    table = tmp_path / "atlas.tsv"
    counted = _run(TabulateRegions, tmp_path, atlas_file=brought, table_file=str(table))
    assert read_regions(counted_file := tmp_path / "regions.tsv")["n_voxels"] == [
        str(int(np.sum(np.asarray(nib.load(atlas_file).dataobj) == number)))
        for number in (1, 2, 7, 300, 2035)
    ]
    assert counted.table_file == str(counted_file)


def test_labels_above_what_32_bit_floats_hold_stay_what_they_are(tmp_path):
    labels = np.full((4, 4, 4), 614454277, np.int32)
    labels[:2] = 16777217
    file = tmp_path / "atlas.nii.gz"
    nib.Nifti1Image(labels, np.eye(4)).to_filename(file)
    (tmp_path / "atlas.tsv").write_text("index\tname\n16777217\ta\n614454277\tb\n")
    np.testing.assert_array_equal(nib.load(_bring(file, file, tmp_path / "run")).dataobj, labels)


@pytest.mark.parametrize("order", ["LAS", "LPS", "PIR"])
def test_the_order_of_the_axes_does_not_change_where_a_label_lies(atlas_file, tmp_path, order):
    image = nib.load(atlas_file)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(order))
    image.as_reoriented(turn).to_filename(tmp_path / "turned.nii.gz")
    grid = upright_grid((22, 21, 20), 1.7, "oblique")
    reference = tmp_path / "b0.nii.gz"
    nib.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine).to_filename(reference)
    matrix = rigid((4, -3, 6), (2, 1, -1), grid.centre_ras)
    way = write_transform(from_matrix(matrix), tmp_path / "way.txt")
    first, second = (
        nib.load(_bring(file, reference, tmp_path / name, [way])).get_fdata()
        for name, file in (("a", atlas_file), ("b", tmp_path / "turned.nii.gz"))
    )
    assert set(np.unique(first)) >= {0, 1, 2, 300, 2035}
    np.testing.assert_array_equal(first, second)


def test_a_region_that_is_too_small_for_the_series_is_warned_of(atlas_file, tmp_path, caplog):
    coarse = upright_grid((10, 9, 8), 4.0)
    reference = tmp_path / "b0.nii.gz"
    nib.Nifti1Image(np.zeros(coarse.shape, np.float32), coarse.affine).to_filename(reference)
    brought = _bring(atlas_file, reference, tmp_path / "run")
    table = str(tmp_path / "atlas.tsv")
    _run(TabulateRegions, tmp_path, atlas_file=brought, table_file=table)
    assert "1 of 5 regions of atlas.tsv have no voxel on the series' grid: r7." in caplog.text
    counts = read_regions(tmp_path / "regions.tsv")
    assert counts["n_voxels"][counts["name"].index("r7")] == "0"


def test_the_grid_fills_the_same_field_of_view(atlas_file, tmp_path):
    like = tmp_path / "like.nii.gz"
    nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.diag([5.0, 4.0, 4.5, 1])).to_filename(like)
    own = _run(MakeGrid, tmp_path / "a", reference_file=str(atlas_file)).grid_file
    filled = _run(
        MakeGrid, tmp_path / "b", reference_file=str(atlas_file), like_file=str(like)
    ).grid_file
    np.testing.assert_allclose(nib.load(own).affine, nib.load(atlas_file).affine)
    assert nib.load(own).shape == (20, 18, 16)
    assert nib.load(filled).shape == (10, 9, 8)
    assert nib.load(filled).header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(nib.affines.voxel_sizes(nib.load(filled).affine), 4.0)


def test_maps_that_are_asked_for_are_brought_and_whole_numbers_stay_whole(tmp_path):
    grid = upright_grid((16, 16, 16), 2.0)
    x = np.indices(grid.shape)[0].astype(np.float32)
    files = {}
    for name, data in {"afd": x, "nufo": np.rint(x / 8), "peaks": np.stack([x] * 6, -1)}.items():
        files[name] = str(tmp_path / f"{name}.nii.gz")
        nib.Nifti1Image(data.astype(np.float32), grid.affine).to_filename(files[name])
    shifted = np.eye(4)
    shifted[0, 3] = 3.0  # one and a half voxels
    way = write_transform(from_matrix(shifted), tmp_path / "way.txt")
    out = _run(
        ResampleMaps, tmp_path / "run", in_files=files, keys=["afd", "nufo", "gfa"],
        counts=["nufo"], reference_file=files["afd"], transform_files=[str(way)],
    ).out_files  # fmt: skip
    assert sorted(out) == ["afd", "nufo"]
    along = np.sign(grid.affine[0, 0]) * 1.5
    np.testing.assert_allclose(nib.load(out["afd"]).get_fdata()[2:14], (x + along)[2:14], atol=1e-4)
    assert set(np.unique(nib.load(out["nufo"]).get_fdata())) <= {0.0, 1.0, 2.0}
