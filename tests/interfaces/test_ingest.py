"""A preprocessed series is handed on bit for bit, its gradients in scanner axes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.base import isdefined

from shd_bids.bids.preprocessed import find_preprocessed
from shd_bids.dwi.gradients import read_mrtrix_gradients
from shd_bids.errors import GradientTableError, MaskError
from shd_bids.interfaces.ingest import IngestPreprocessed
from shd_bids.testing.phantom import make_phantom
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree


@pytest.fixture(scope="module")
def phantom():
    return make_phantom((12, 14, 10), 6.0, shells={0: 2, 1000: 8})


@pytest.fixture(params=[True, False], ids=["mrtrix", "image-axes"])
def series(request, phantom, tmp_path):
    root = write_qsiprep_tree(phantom, tmp_path / "qsiprep", mrtrix_table=request.param)
    return find_preprocessed(root, "01")[0]


@pytest.fixture
def ingest(tmp_path):
    def run(series, **options):
        node = IngestPreprocessed(
            dwi_file=series.dwi_file,
            gradient_files=list(series.gradients.files),
            convention=series.gradients.convention,
            b0_threshold=100.0,
            **options,
        )
        (tmp_path / "work").mkdir(exist_ok=True)
        return node.run(cwd=str(tmp_path / "work")).outputs

    return run


def test_the_series_is_the_same_bit_for_bit(series, ingest, phantom):
    outputs = ingest(series, mask_file=series.mask_file)
    before, after = nib.load(series.dwi_file), nib.load(outputs.dwi_file)
    assert after.get_data_dtype() == np.float32
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(np.asarray(after.dataobj), np.asarray(before.dataobj))
    mask = np.asarray(nib.load(outputs.mask_file).dataobj)
    np.testing.assert_array_equal(mask, np.asarray(nib.load(series.mask_file).dataobj))
    b0 = np.asarray(after.dataobj)[..., phantom.bvals == 0].mean(axis=3)
    np.testing.assert_allclose(np.asarray(nib.load(outputs.b0_file).dataobj), b0, rtol=1e-6)


def test_gradients_come_out_along_scanner_axes(series, ingest, phantom):
    table = read_mrtrix_gradients(Path(ingest(series).gradients_file))
    np.testing.assert_allclose(table.bvecs_ras, phantom.bvecs_ras, atol=1e-6)
    np.testing.assert_array_equal(table.bvals, phantom.bvals)


def test_without_a_mask_none_is_made_up(series, ingest):
    assert not isdefined(ingest(series).mask_file)


def test_a_mask_that_lies_elsewhere_is_refused(series, ingest, tmp_path):
    mask = nib.load(series.mask_file)
    moved = mask.affine.copy()
    moved[0, 3] += 2
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), moved), tmp_path / "mask.nii.gz")
    with pytest.raises(MaskError, match=r"mask\.nii\.gz and .*dwi\.nii\.gz have different"):
        ingest(series, mask_file=tmp_path / "mask.nii.gz")


def test_a_table_of_another_length_is_refused(series, ingest):
    for file in series.gradients.files:
        lines = file.read_text().splitlines()
        short = lines[:-1] if file.suffix == ".b" else [line.rsplit(" ", 1)[0] for line in lines]
        file.write_text("\n".join(short))
    with pytest.raises(GradientTableError, match=r"hold 9 b-values, but sub-01.* has 10 volumes"):
        ingest(series)
